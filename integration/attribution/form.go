package main

// form is one way to write rows: a few statements that belong together.
type form struct {
	name   string
	weight int
	steps  []step

	places place // places where it is used
	hold   bool  // it leaves open a cursor WITH HOLD, so its transaction cannot be prepared
	plain  bool  // one statement that certainly writes: suitable between others
	broken bool  // it fails: in a block a ROLLBACK must follow

	// mayBeUnknown are the places where its rows may have no statement.
	mayBeUnknown place
}

// step is one message or statement of a form, as a template for fill.
type step struct {
	kind  kind
	sql   string
	rows  int    // number of rows that it writes
	late  int    // number of rows that its transaction writes for it later: they may have no statement
	odd   bool   // it writes only if its nonce is odd
	bound bool   // {n} may be a parameter
	data  bool   // lines for COPY follow
	code  string // SQLSTATE of its error; "": none
}

// kind says how a step is sent.
type kind int

const (
	asWay      kind = iota // like all statements of its unit
	gap                    // not at all: another statement takes its place
	call                   // a FunctionCall message
	openPortal             // Parse, Bind and Execute of one row of a named portal
	morePortal             // Execute of one more row
	bindPortal             // Parse and Bind of a named portal
	runPortal              // Execute of that portal, to its end
	openNamed              // Parse, Bind and Execute of a named statement
	moreNamed              // Bind and Execute of that statement
)

// place says where in a transaction a statement is.
type place int

const (
	alone     place = 1 << iota // in autocommit mode
	first                       // in a block that has not written yet
	behind                      // in a block, after rows written by another statement
	opening                     // in the transaction of one Query or Sync, which has not written yet
	following                   // in such a transaction, after rows written by another statement

	anywhere   = alone | first | behind | opening | following
	autocommit = alone | opening
	inBlock    = first | behind
)

var placeNames = map[place]string{alone: "alone", first: "first in block", behind: "behind in block", opening: "first in group", following: "behind in group"}

func (p place) String() string { return placeNames[p] }

// special reports whether a step cannot be one of several statements in a Query.
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
