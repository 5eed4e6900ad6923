package main

// form is one way to write rows: a few statements that belong together.
type form struct {
	name   string
	weight int
	steps  []step

	places place // where it is tried
	hold   bool  // it leaves a cursor behind its transaction, which therefore cannot be prepared
	plain  bool  // one statement of which nobody can doubt that it writes: good between others
	broken bool  // it fails: what follows in a block has to be a ROLLBACK

	// mayBeUnknown says where its rows may have no statement.
	mayBeUnknown place
}

// step is one message or statement of a form, as a template for fill.
type step struct {
	kind  kind
	sql   string
	rows  int    // that it writes
	late  int    // that its transaction writes for it later: they may have no statement
	odd   bool   // it writes only if its nonce is odd
	bound bool   // {n} may be a parameter
	data  bool   // lines for COPY follow
	code  string // SQLSTATE that it ends with; "": none
}

// kind says how a step is sent.
type kind int

const (
	asWay      kind = iota // as all statements of its unit
	gap                    // not at all: another statement stands here
	call                   // a FunctionCall message
	openPortal             // Parse, Bind and Execute of one row of a portal with a name
	morePortal             // Execute of one row more
	bindPortal             // Parse and Bind of a portal with a name
	runPortal              // Execute of it, to its end
	openNamed              // Parse, Bind and Execute of a statement with a name
	moreNamed              // Bind and Execute of it
)

// place is where in a transaction a statement stands.
type place int

const (
	alone     place = 1 << iota // an autocommit
	first                       // in a block that has not written yet
	behind                      // in a block behind what another statement has written
	opening                     // in the transaction of one Query or Sync, which has not written yet
	following                   // there, behind what another statement has written

	anywhere   = alone | first | behind | opening | following
	autocommit = alone | opening
	inBlock    = first | behind
)

var placeNames = map[place]string{alone: "alone", first: "first in block", behind: "behind in block", opening: "first in group", following: "behind in group"}

func (p place) String() string { return placeNames[p] }

// special reports whether a step cannot be one of several in a Query.
func (f *form) special() bool {
	for _, s := range f.steps {
		if s.kind > gap {
			return true
		}
	}
	return false
}

// calls reports whether a form has a FunctionCall, which ends a group of the extended protocol.
func (f *form) calls() bool { return f.steps[0].kind == call }
