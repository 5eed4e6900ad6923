package proxy

import "fmt"

// Outbox says what form notes take.
type Outbox byte

const (
	OutboxTable   Outbox = iota // the first note of a transaction is a row of pgtee.outbox, the others are messages
	OutboxMessage               // logical messages only
	OutboxOff                   // no notes: forward only
)

var outboxNames = [...]string{"table", "message", "off"}

func (o Outbox) String() string { return outboxNames[o] }

// UnmarshalText reads table, message or off.
func (o *Outbox) UnmarshalText(text []byte) error {
	return unmarshal(o, text, "outbox", outboxNames[:])
}

// Attribution says which statements of a transaction get a note.
type Attribution byte

const (
	AttributionStatement   Attribution = iota // every statement that writes
	AttributionTransaction                    // only the first
)

var attributionNames = [...]string{"statement", "transaction"}

func (a Attribution) String() string { return attributionNames[a] }

// UnmarshalText reads statement or transaction.
func (a *Attribution) UnmarshalText(text []byte) error {
	return unmarshal(a, text, "attribution", attributionNames[:])
}

func unmarshal[T ~byte](value *T, text []byte, option string, names []string) error {
	for i, name := range names {
		if string(text) == name {
			*value = T(i)
			return nil
		}
	}
	return fmt.Errorf("unknown %s %q: use one of %q", option, text, names)
}
