package archive

import (
	"fmt"
	"io"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"
)

// decoder reads the records of a file. next returns io.EOF after the last one.
type decoder interface {
	next() (number int64, record *kgo.Record, err error)
	close()
}

func newEncoder(format Format, out io.Writer) (encoder, error) {
	switch format {
	case JSONLines:
		return newLineEncoder(out)
	case Parquet:
		return newRowEncoder(out), nil
	}
	return nil, unknown(format)
}

func newDecoder(format Format, file *os.File) (decoder, error) {
	switch format {
	case JSONLines:
		return newLineDecoder(file)
	case Parquet:
		return newRowDecoder(file), nil
	}
	return nil, unknown(format)
}

func unknown(format Format) error {
	return Halt{What: fmt.Sprintf("format %q is not known", format), Repair: "want jsonl or parquet; upgrade this program if the archive was written by a newer one"}
}
