package main

import "testing"

func TestCheckEnvelope(t *testing.T) {
	schemas := framingFlags{Format: "json-schema"}
	for _, test := range []struct {
		flags   envelopeFlags
		framing framingFlags
		ok      bool
	}{
		{envelopeFlags{}, framingFlags{}, true},
		{envelopeFlags{Envelope: "flat", FlatDeletes: "rewrite", FlatFields: []string{"op", "source.lsn"}}, schemas, true},
		{envelopeFlags{Envelope: "plain"}, framingFlags{Format: "json", KeyFormat: "same"}, true},
		{envelopeFlags{Envelope: "cloudevents"}, schemas, true},
		{envelopeFlags{Envelope: "plain"}, schemas, false},
		{envelopeFlags{Envelope: "plain"}, framingFlags{KeyFormat: "avro"}, false},
		{envelopeFlags{Envelope: "maxwell"}, framingFlags{}, false},
		{envelopeFlags{FlatDeletes: "drop"}, framingFlags{}, false},
		{envelopeFlags{Envelope: "flat", FlatDeletes: "never"}, framingFlags{}, false},
		{envelopeFlags{Envelope: "flat", FlatFields: []string{"source.shoe_size"}}, framingFlags{}, false},
	} {
		if err := test.flags.checkEnvelope(test.framing); (err == nil) != test.ok {
			t.Errorf("%+v, format %q: error %v", test.flags, test.framing.Format, err)
		}
	}
}
