package proxy

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// model answers like PostgreSQL, for a few statements: enough to meet every rule about which request gets which
// reply. It knows the routines that write notes, without effect.
type model struct {
	out      []byte
	status   byte // I, T or E
	skipping bool // up to Sync
	texts    map[string]string
	portals  map[string]*modelPortal
	ledger   ledger

	ended    bool     // nothing is read any more
	copying  bool     // copy data is awaited
	extended bool     // ... by an Execute
	rest     []string // ... the statements of the Query that follow
}

type modelPortal struct {
	text string
	rows int // already sent
}

func newModel() *model {
	return &model{status: 'I', texts: map[string]string{}, portals: map[string]*modelPortal{}}
}

func (m *model) say(line string) {
	var err error
	if m.out, err = encode(m.out, serverShapes, line); err != nil {
		panic(err)
	}
}

func (m *model) ready() {
	if m.status == 'I' {
		clear(m.portals)
		m.ledger.end()
	}
	m.say("ReadyForQuery " + string(m.status))
}

// fail is an ErrorResponse; a block fails.
func (m *model) fail(code string) {
	m.say("ErrorResponse S=ERROR V=ERROR M=error C=" + code)
	switch m.status {
	case 'T':
		m.status = 'E'
	case 'I':
		m.ledger.end()
	}
}

// handle takes one message.
func (m *model) handle(kind byte, body []byte) {
	switch {
	case m.ended:
	case m.copying:
		m.copyData(kind, string(body))
	case kind == 'S':
		m.skipping = false
		m.ready()
	case m.skipping || kind == 'd' || kind == 'c' || kind == 'f' || kind == 'H':
	case kind == 'Q':
		m.query(strings.TrimSuffix(string(body), "\x00"))
	case kind == 'F' && m.status == 'E':
		m.fail("25P02")
		m.ready()
	case kind == 'F':
		m.ledger.write("a FunctionCall", false)
		m.say("FunctionCallResponse x")
		m.ready()
	default:
		m.extendedMessage(kind, strings.Split(string(body), "\x00"), body)
	}
}

func (m *model) query(text string) {
	delete(m.texts, "")
	delete(m.portals, "")
	m.ledger.text = text
	if at := strings.Index(text, "SELCT"); at >= 0 {
		m.fail(fmt.Sprintf("42601 P=%d", at+1))
		m.ready()
		return
	}
	var list []string
	for part := range strings.SplitSeq(text, ";") {
		switch part = strings.TrimSpace(part); {
		case strings.HasPrefix(part, "CALL pgtee.put("): // its note is in the comment before
			list[len(list)-1] += ";" + part
		case part != "":
			list = append(list, part)
		}
	}
	if len(list) == 0 {
		m.say("EmptyQueryResponse")
	}
	m.statements(list)
}

// statements runs those of a Query, up to one that waits for copy data.
func (m *model) statements(list []string) {
	for i, text := range list {
		if !m.run(text, true, 0, &modelPortal{}) {
			break
		}
		if m.copying {
			m.rest = list[i+1:]
			return
		}
	}
	m.ready()
}

// run executes one statement; described is whether RowDescription belongs to the answer.
func (m *model) run(text string, described bool, limit uint32, p *modelPortal) bool {
	first, _, _ := strings.Cut(text, " ")
	ending := first == "ROLLBACK" || first == "COMMIT"
	switch {
	case m.status == 'E' && !ending:
		m.fail("25P02")
		return false
	case strings.Contains(text, "INTO fail "), first == "VACUUM" && m.status != 'I', m.status == 'I' && (first == "SAVEPOINT" || strings.HasSuffix(text, "CHAIN")),
		text == "ROLLBACK TO s" && m.status == 'I':
		m.fail("22012")
		return false
	case first == "SELECT" || isNote(text) || strings.Contains(text, "RETURNING"):
		if p.rows == 0 {
			m.write(text, first)
		}
		return m.rows(text, described, limit, p)
	case first == "COPY":
		m.write(text, first)
		m.say(`CopyInResponse "\x00\x00\x00"`)
		if limit > 0 || strings.Contains(text, "FREEZE") { // a limit means nothing to a COPY: here, that a trigger fails before any data is read
			m.fail("P0001")
			return false
		}
		m.copying, m.extended = true, !described
		return true
	}
	m.write(text, first)
	m.control(text, first)
	m.say(`CommandComplete "` + text + `"`)
	return true
}

// write tells the ledger what a statement writes.
func (m *model) write(text, first string) {
	switch {
	case isNote(text):
		if !m.runsNote(text) {
			return
		}
		m.ledger.wrote = true
		m.ledger.note(payloadIn(text))
	case first == "INSERT" || first == "UPDATE" || first == "COPY":
		m.ledger.write(text, true)
	case first == "CALL" || text == "SELECT public.f()":
		m.ledger.write(text, false)
	}
}

// runsNote evaluates the condition of a note behind its statement.
func (m *model) runsNote(text string) bool {
	return m.ledger.wrote || !strings.Contains(text, ",current_user,false,") && !strings.Contains(text, "WHERE 'f' OR")
}

func (m *model) control(text, first string) {
	switch {
	case first == "BEGIN":
		m.status = 'T'
	case first == "SAVEPOINT":
		m.ledger.savepoint()
	case text == "ROLLBACK TO s":
		m.status = 'T'
		m.ledger.rollbackTo()
	case strings.HasSuffix(text, "CHAIN"):
		m.status = 'T'
		m.ledger.end()
		clear(m.portals)
	case first == "COMMIT" || first == "ROLLBACK":
		m.status = 'I'
		m.ledger.end()
		clear(m.portals)
	case text == "DISCARD ALL", text == "DEALLOCATE ALL":
		clear(m.texts)
	}
}

// rows answers a query of two rows; a note has one.
func (m *model) rows(text string, described bool, limit uint32, p *modelPortal) bool {
	name, count := "n", 2
	if isNote(text) {
		name, count = "note", 1
		if !m.runsNote(text) && !strings.Contains(text, "CALL") {
			count = 0
		}
	}
	if described {
		m.say("RowDescription " + name)
	}
	for sent := uint32(0); p.rows < count; sent++ {
		if limit > 0 && sent == limit {
			m.say("PortalSuspended")
			return true
		}
		m.say("DataRow x")
		p.rows++
	}
	m.say("CommandComplete SELECT")
	return true
}

func (m *model) copyData(kind byte, data string) {
	switch kind {
	case 'S', 'H': // ignored
	case 'd':
		if data == "bad" {
			m.endCopy("22P02")
		}
	case 'f':
		m.endCopy("57014")
	case 'c':
		m.copying = false
		m.say(`CommandComplete "COPY 1"`)
		if !m.extended {
			m.statements(m.rest)
		}
	default: // "unexpected message type 0x51 during COPY from stdin", whose rest is not read
		m.fail("08P01")
		m.say("ErrorResponse S=FATAL V=FATAL C=08P01 M=lost")
		m.copying, m.ended = false, true
	}
}

func (m *model) endCopy(code string) {
	m.copying = false
	m.fail(code)
	if m.skipping = m.extended; !m.extended {
		m.ready()
	}
}

func (m *model) extendedMessage(kind byte, words []string, body []byte) {
	switch kind {
	case 'P':
		m.parse(words[0], words[1])
	case 'B':
		m.bind(words[0], words[1], parametersOf(body[len(words[0])+len(words[1])+2:]))
	case 'D':
		m.describe(words[0][:1], words[0][1:])
	case 'C':
		if words[0][0] == 'S' {
			delete(m.texts, words[0][1:])
		} else {
			delete(m.portals, words[0][1:])
		}
		m.say("CloseComplete")
	case 'E':
		m.execute(words[0], binary.BigEndian.Uint32(body[len(body)-4:]))
	}
}

// check fails the group unless ok. In a failed block it tells no codes apart: a note may be the first to fail.
func (m *model) check(ok bool, code string) bool {
	if !ok {
		if m.status == 'E' {
			code = "25P02"
		}
		m.fail(code)
		m.skipping = true
	}
	return ok
}

func (m *model) parse(name, text string) {
	_, taken := m.texts[name]
	refused := m.status == 'E' && !strings.HasPrefix(text, "ROLLBACK") && !strings.HasPrefix(text, "COMMIT")
	if at := strings.Index(text, "SELCT"); at >= 0 { // read first, whatever has failed
		m.fail(fmt.Sprintf("42601 P=%d", at+1))
		m.skipping = true
		return
	}
	if m.check(!refused, "25P02") && m.check(!taken || name == "", "42P05") {
		m.texts[name] = strings.Trim(text, "; ")
		m.say("ParseComplete")
	}
}

func (m *model) bind(portal, name string, parameters []string) {
	text, ok := m.texts[name]
	_, taken := m.portals[portal]
	if m.check(ok, "26000") && m.check(!taken || portal == "", "42P03") {
		for i, parameter := range parameters {
			text = strings.Replace(text, fmt.Sprintf("$%d", i+1), "'"+parameter+"'", 1)
		}
		m.portals[portal] = &modelPortal{text: text}
		m.say("BindComplete")
	}
}

func (m *model) describe(kind, name string) {
	_, ok := m.texts[name]
	if kind == "P" {
		_, ok = m.portals[name]
	}
	if !m.check(ok, "26000") {
		return
	}
	if kind == "S" {
		m.say(`ParameterDescription "\x00\x00"`)
	} else if text := m.portals[name].text; strings.HasPrefix(text, "SELECT") || strings.Contains(text, "RETURNING") {
		m.say("RowDescription n")
		return
	}
	m.say("NoData")
}

func (m *model) execute(name string, limit uint32) {
	p, ok := m.portals[name]
	if !m.check(ok, "34000") {
		return
	}
	m.skipping = !m.run(p.text, false, limit, p)
}

// parametersOf returns the parameters of a Bind from their formats on, of which there are none.
func parametersOf(body []byte) (parameters []string) {
	if len(body) < 4 {
		return nil
	}
	n := int(binary.BigEndian.Uint16(body[2:]))
	body = body[4:]
	for range n {
		size := binary.BigEndian.Uint32(body)
		parameters = append(parameters, string(body[4:][:size]))
		body = body[4+size:]
	}
	return parameters
}
