package outbox

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// TimelineSwitch is the point where a timeline ended and its successor began.
type TimelineSwitch struct {
	Timeline int32  // the timeline that ended
	End      LSN    // the server's history contains this timeline up to here, but not beyond
	Reason   string // as given by the server
}

// timelineHistory reads the history of a timeline, oldest switch first. Timeline 1 has none.
func timelineHistory(ctx context.Context, conn *pgconn.PgConn, timeline int32) ([]TimelineSwitch, error) {
	if timeline <= 1 {
		return nil, nil
	}
	got, err := simpleQuery(ctx, conn, fmt.Sprintf("TIMELINE_HISTORY %d", timeline))
	if err != nil {
		return nil, fmt.Errorf("history of timeline %d: %w", timeline, err)
	}
	if len(got) != 1 || len(got[0]) != 2 {
		return nil, fmt.Errorf("history of timeline %d: want one row of file name and content", timeline)
	}
	history, err := parseTimelineHistory(got[0][1])
	if err != nil {
		return nil, fmt.Errorf("history of timeline %d: %w", timeline, err)
	}
	return history, nil
}

// parseTimelineHistory reads the content of a history file (readTimeLineHistory in PostgreSQL's timeline.c): lines of parent timeline, switch point
// and reason, separated by white space; # starts a comment.
func parseTimelineHistory(content string) ([]TimelineSwitch, error) {
	var history []TimelineSwitch
	for line := range strings.Lines(content) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 2 {
			return nil, fmt.Errorf("line %q: want timeline, LSN, reason", line)
		}
		timeline, err := strconv.ParseInt(fields[0], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		end, err := pgoutput.ParseLSN(fields[1])
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		if n := len(history); n > 0 && int32(timeline) <= history[n-1].Timeline {
			return nil, fmt.Errorf("line %q: timeline not above %d", line, history[n-1].Timeline)
		}
		history = append(history, TimelineSwitch{int32(timeline), end, strings.Join(fields[2:], " ")})
	}
	return history, nil
}
