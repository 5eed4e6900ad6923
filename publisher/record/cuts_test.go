package record

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
)

// An earlier build has only counted the cuts.
func TestCuts(t *testing.T) {
	for text, want := range map[string]Cuts{
		`{}`: nil, `{"cuts":null}`: nil, `{"cuts":["0/96","0/64"]}`: {150, 100}, `{"cuts":2}`: {math.MaxUint64, math.MaxUint64},
	} {
		var p struct {
			Cuts Cuts `json:"cuts"`
		}
		if err := json.Unmarshal([]byte(text), &p); err != nil || !slices.Equal(p.Cuts, want) {
			t.Errorf("%s: %v, %v", text, p.Cuts, err)
		}
	}
	if err := json.Unmarshal([]byte(`"x"`), new(Cuts)); err == nil {
		t.Error("any text is read as cuts")
	}
}
