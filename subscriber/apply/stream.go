package apply

import "github.com/twmb/franz-go/pkg/kgo"

// stream hands out records in the order of the source's commits: of the topics (source) or of an archive (files). It is used by
// one goroutine.
type stream interface {
	peek() (event, bool) // the next record, unless that may not be taken yet
	take()               // removes what peek has returned
	drained() bool       // everything before the watermark was taken
	taken() map[string][]int64
	topics() map[string]string // their ids
	broken() error             // why nothing more can be read
}

// feed is what the topics bring. Those of nil bring nothing.
type feed struct {
	source  *source
	marks   chan watermark
	fetched chan kgo.Fetches
}

func (f *feed) newMarks() <-chan watermark {
	if f == nil {
		return nil
	}
	return f.marks
}

func (f *feed) newRecords() <-chan kgo.Fetches {
	if f == nil {
		return nil
	}
	return f.fetched
}
