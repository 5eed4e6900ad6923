package avro

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
)

// maxAnswerBytes bounds how much of a response is read: a schema has some ten kilobytes.
const maxAnswerBytes = 16 << 20

// transport adapts HTTP to the registry's client.
type transport struct{ http.RoundTripper }

func newTransport(config *tls.Config, dialTLS DialFunc) transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialTLSContext = dialTLS
	if config != nil {
		t.TLSClientConfig = config.Clone()
	}
	return transport{t}
}

// RoundTrip returns an error for a response that says that the server is unavailable, because the client tries the next URL only after an error. It
// also limits the size of a response.
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
