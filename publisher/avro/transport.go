package avro

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
)

// maxAnswerBytes bounds what is read of an answer: a schema is some ten kilobytes.
const maxAnswerBytes = 16 << 20

// transport is HTTP as the registry's client needs it.
type transport struct{ http.RoundTripper }

func newTransport(config *tls.Config) transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if config != nil {
		t.TLSClientConfig = config.Clone()
	}
	return transport{t}
}

// RoundTrip makes an error of the answers by which a server says that it cannot work now: after an error the
// client goes on to the next URL. It also bounds what the client reads.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests {
		answer.Body.Close()
		return nil, fmt.Errorf("HTTP status %s", answer.Status)
	}
	answer.Body = bounded{io.LimitReader(answer.Body, maxAnswerBytes), answer.Body}
	return answer, nil
}

type bounded struct {
	io.Reader
	io.Closer
}
