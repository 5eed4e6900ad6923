package filter

import (
	"regexp"
	"strconv"
	"strings"
)

// anyClass is the class of a column whose table is not known yet: every constant fits.
const anyClass class = 255

// These limits bound a filter, because its evaluation is recursive.
const (
	maxFilterBytes = 64 << 10
	maxFilterDepth = 100
)

// predicates parses the language of Filter:
//
//	or         = and { OR and }
//	and        = not { AND not }
//	not        = NOT not | "(" or ")" | test
//	test       = column [ operator constant | [NOT] IN "(" constant { "," constant } ")" | [NOT] LIKE text | IS [NOT] NULL ]
//	operator   = "=" | "<>" | "!=" | "<" | "<=" | ">" | ">="
//	constant   = 'text' | number | TRUE | FALSE
type predicates struct {
	text   string
	tokens []token
	next   int
	depth  int
	find   func(name string) (column, error)
}

// parsePredicate parses a text; find resolves its columns. Errors include the position, starting at 1.
func parsePredicate(text string, find func(name string) (column, error)) (node, error) {
	tokens, err := tokenize(text)
	if err != nil {
		return nil, err
	}
	p := &predicates{text: text, tokens: tokens, find: find}
	root, err := p.or()
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t.kind != end {
		return nil, p.unexpected("AND, OR or the end")
	}
	return root, nil
}

func (p *predicates) peek() token { return p.tokens[p.next] }

// accept consumes the next token if it is this keyword or sign.
func (p *predicates) accept(text string) bool {
	if t := p.peek(); (t.kind == word || t.kind == sign) && t.text == text {
		p.next++
		return true
	}
	return false
}

func (p *predicates) unexpected(want string) error {
	t := p.peek()
	found := strconv.Quote(t.text)
	if t.kind == end {
		found = "its end"
	}
	return t.errorf("found %s, want %s", found, want)
}

func (p *predicates) or() (node, error) {
	left, err := p.and()
	for err == nil && p.accept("or") {
		var right node
		right, err = p.and()
		left = or{left, right}
	}
	return left, err
}

func (p *predicates) and() (node, error) {
	left, err := p.not()
	for err == nil && p.accept("and") {
		var right node
		right, err = p.not()
		left = and{left, right}
	}
	return left, err
}

func (p *predicates) not() (node, error) {
	if p.depth++; p.depth > maxFilterDepth {
		return nil, p.peek().errorf("more than %d levels of NOT and parentheses", maxFilterDepth)
	}
	defer func() { p.depth-- }()
	if p.accept("not") {
		operand, err := p.not()
		return not{operand}, err
	}
	if !p.accept("(") {
		return p.test()
	}
	inner, err := p.or()
	if err == nil && !p.accept(")") {
		err = p.unexpected(`")"`)
	}
	return inner, err
}

func (p *predicates) test() (node, error) {
	t := p.peek()
	if t.kind != name && (t.kind != word || keywords[t.text]) {
		return nil, p.unexpected("a column")
	}
	p.next++
	c, err := p.find(t.text)
	if err != nil {
		return nil, t.errorf("%w", err)
	}
	negated := p.accept("not")
	var n node
	switch {
	case p.accept("in"):
		n, err = p.in(c)
	case p.accept("like"):
		n, err = p.like(c)
	case negated:
		return nil, p.unexpected("IN or LIKE")
	case p.accept("is"):
		return p.isNull(c)
	case p.peek().kind == sign && operators[p.peek().text] != "":
		return p.compared(c)
	case c.class == boolClass || c.class == anyClass:
		return boolean{c}, nil
	default:
		return nil, p.unexpected("a comparison")
	}
	if negated {
		n = not{n}
	}
	return n, err
}

var operators = map[string]string{"=": "=", "<>": "<>", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}

func (p *predicates) compared(c column) (node, error) {
	operator := p.peek()
	p.next++
	constant, err := p.constant(c)
	if err == nil && operators[operator.text] != "=" && operators[operator.text] != "<>" && !c.class.ordered() {
		err = operator.errorf("%s compares numbers, text, dates and timestamps only", operator.text)
	}
	return compared{c, operators[operator.text], constant}, err
}

func (c class) ordered() bool {
	switch c {
	case boolClass, caselessClass, clockClass, uuidClass, otherClass:
		return false
	}
	return true
}

func (p *predicates) in(c column) (node, error) {
	if !p.accept("(") {
		return nil, p.unexpected(`"("`)
	}
	n := in{column: c}
	for {
		constant, err := p.constant(c)
		if err != nil {
			return nil, err
		}
		n.constants = append(n.constants, constant)
		if p.accept(")") {
			return n, nil
		}
		if !p.accept(",") {
			return nil, p.unexpected(`"," or ")"`)
		}
	}
}

func (p *predicates) like(c column) (node, error) {
	t := p.peek()
	if t.kind != literal {
		return nil, p.unexpected("a pattern in single quotes")
	}
	p.next++
	switch c.class {
	case textClass, padClass, clockClass, uuidClass, otherClass, anyClass:
	default:
		return nil, t.errorf("LIKE matches text only")
	}
	if trailing := len(t.text) - len(strings.TrimRight(t.text, `\`)); trailing%2 == 1 {
		return nil, t.errorf("the pattern ends with its escape character")
	}
	return like{c, []byte(t.text)}, nil
}

func (p *predicates) isNull(c column) (node, error) {
	negated := p.accept("not")
	if !p.accept("null") {
		return nil, p.unexpected("NULL")
	}
	if negated {
		return not{isNull{c}}, nil
	}
	return isNull{c}, nil
}

// constant parses a constant with which the column can be compared.
func (p *predicates) constant(c column) ([]byte, error) {
	t := p.peek()
	p.next++
	switch {
	case t.kind == literal:
		return t.quoted(c)
	case t.kind == number && (c.class == numberClass || c.class == anyClass):
		return []byte(t.text), nil
	case t.kind == number:
		return nil, t.errorf("the column holds no numbers: write '%s'", t.text)
	case t.kind == word && (t.text == "true" || t.text == "false"):
		if c.class == boolClass || c.class == anyClass {
			return []byte(t.text[:1]), nil
		}
		return nil, t.errorf("the column is not boolean")
	case t.kind == word && t.text == "null":
		return nil, t.errorf("nothing equals NULL: write IS NULL")
	}
	p.next--
	return nil, p.unexpected("a number, a text in single quotes, TRUE or FALSE")
}

var uuid = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// quoted returns the text of a literal in the form in which PostgreSQL prints it for the column.
func (t token) quoted(c column) ([]byte, error) {
	switch c.class {
	case numberClass:
		if !isNumber(t.text) {
			return nil, t.errorf("'%s' is not a number", t.text)
		}
	case timeClass, dateClass:
		printed, ok := printedTime(t.text)
		switch {
		case !ok:
			return nil, t.errorf("'%s': want YYYY-MM-DD or YYYY-MM-DD HH:MM:SS, with up to six more digits, in UTC if the column has a time zone", t.text)
		case c.class == dateClass && len(printed) > len("2006-01-02") && !strings.HasSuffix(printed, midnight):
			return nil, t.errorf("'%s': the column has no time of day: want YYYY-MM-DD", t.text)
		}
		return []byte(printed), nil
	case clockClass:
		printed, ok := printedClock(t.text)
		if !ok {
			return nil, t.errorf("'%s': want HH:MM:SS, with up to six more digits", t.text)
		}
		return []byte(printed), nil
	case uuidClass:
		if !uuid.MatchString(t.text) {
			return nil, t.errorf("'%s': want a UUID, XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX", t.text)
		}
		return []byte(strings.ToLower(t.text)), nil
	case boolClass:
		if value, err := strconv.ParseBool(t.text); err == nil {
			return strconv.AppendBool(nil, value)[:1], nil
		}
		return nil, t.errorf("'%s' is neither true nor false", t.text)
	case padClass:
		return []byte(strings.TrimRight(t.text, " ")), nil
	}
	return []byte(t.text), nil
}
