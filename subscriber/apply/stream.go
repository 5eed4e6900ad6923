package apply

import "github.com/twmb/franz-go/pkg/kgo"

// stream returns records in the order of the source's commits, from the topics (source) or from an archive (files). It must be used by one goroutine
// at a time.
type stream interface {
	peek() (event, bool)       // returns the next record, if it may be taken
	take()                     // removes the record that peek has returned
	drained() bool             // reports whether everything before the watermark was taken
	taken() map[string][]int64 // returns the offset of the next record to be taken, by topic and partition
	topics() map[string]string // returns the topic ids
	broken() error             // returns why no more records can be read
}

// feed is the input from the topics. A nil feed has none.
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
