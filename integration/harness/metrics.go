package harness

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// Metrics returns what a process serves at /metrics of this address.
func Metrics(address string) (string, error) {
	answer, err := (&http.Client{Timeout: 5 * time.Second}).Get("http://" + address + "/metrics")
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("metrics of %s: %s", address, answer.Status)
	}
	return string(text), err
}
