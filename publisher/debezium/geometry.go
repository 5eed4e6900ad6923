package debezium

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"

	"github.com/pgtee/pgtee/publisher/record"
)

// geometries encodes the geometric types as Debezium's structs with well-known binary (WKB, OGC 06-103r4, chapter 8). It must be used by one
// goroutine at a time.
type geometries struct {
	numbers []float64
	wkb     []byte
}

// WKB codes of geometry types.
const (
	wkbPoint      = 1
	wkbLineString = 2
	wkbPolygon    = 3
)

// point encodes (1.5,-2) as {"x":1.5,"y":-2.0,"wkb":"...","srid":null}.
func (g *geometries) point(dst, text []byte) ([]byte, bool) {
	if !g.read(text, "(", ")") || len(g.numbers) != 2 {
		return dst, false
	}
	return g.appendPoint(dst), true
}

// line encodes {1,2,3} as {"a":1.0,"b":2.0,"c":3.0}.
func (g *geometries) line(dst, text []byte) ([]byte, bool) {
	if !g.read(text, "{", "}") || len(g.numbers) != 3 {
		return dst, false
	}
	dst = appendJavaFloat(append(dst, `{"a":`...), g.numbers[0], 64)
	dst = appendJavaFloat(append(dst, `,"b":`...), g.numbers[1], 64)
	dst = appendJavaFloat(append(dst, `,"c":`...), g.numbers[2], 64)
	return append(dst, '}'), true
}

// circle encodes <(1,2),3.5> as its center, a point, and its radius.
func (g *geometries) circle(dst, text []byte) ([]byte, bool) {
	if !g.read(text, "<", ">") || len(g.numbers) != 3 {
		return dst, false
	}
	dst = g.appendPoint(append(dst, `{"center":`...))
	dst = appendJavaFloat(append(dst, `,"radius":`...), g.numbers[2], 64)
	return append(dst, '}'), true
}

// lseg encodes [(0,0),(1,1)] as a line of two points.
func (g *geometries) lseg(dst, text []byte) ([]byte, bool) {
	if !g.read(text, "[", "]") || len(g.numbers) != 4 {
		return dst, false
	}
	g.writeLineString()
	return g.appendGeometry(dst, `"type":"lseg"`), true
}

// path encodes [(0,0),(1,1)], an open path, or ((0,0),(1,1)), a closed one, as a line.
func (g *geometries) path(dst, text []byte) ([]byte, bool) {
	switch {
	case g.read(text, "[", "]"):
		g.writeLineString()
		return g.appendGeometry(dst, `"type":"path","closed":"false"`), true
	case g.read(text, "(", ")"):
		g.writeLineString()
		return g.appendGeometry(dst, `"type":"path","closed":"true"`), true
	}
	return dst, false
}

// box encodes (3,4),(1,2), two opposite corners, as a ring of five points.
func (g *geometries) box(dst, text []byte) ([]byte, bool) {
	if !g.read(text, "(", ")") || len(g.numbers) != 4 {
		return dst, false
	}
	x1, y1, x2, y2 := g.numbers[0], g.numbers[1], g.numbers[2], g.numbers[3]
	g.numbers = append(g.numbers[:0], x1, y1, x1, y2, x2, y2, x2, y1, x1, y1)
	g.writePolygonRing()
	return g.appendGeometry(dst, `"type":"box"`), true
}

// polygon encodes ((0,0),(1,1),(2,0)) as a ring, and closes the ring if it is open.
func (g *geometries) polygon(dst, text []byte) ([]byte, bool) {
	if !g.read(text, "(", ")") {
		return dst, false
	}
	last := g.numbers[len(g.numbers)-2:]
	if !slices.Equal(g.numbers[:2], last) {
		g.numbers = append(g.numbers, g.numbers[0], g.numbers[1])
	}
	g.writePolygonRing()
	return g.appendGeometry(dst, `"type":"polygon"`), true
}

// emptyEWKB is an empty geometry collection, which Debezium writes for a NOT NULL column whose value is not in the WAL.
const emptyEWKB = "010700000000000000"

// ewkbSRID is the flag for an SRID in EWKB, PostGIS's extended well-known binary.
const ewkbSRID = 0x20000000

// postgisGeometry encodes hexadecimal EWKB as {"wkb":"...","srid":4326,"extensions":null}. The SRID is in wkb too.
func (g *geometries) postgisGeometry(dst, text []byte) ([]byte, bool) {
	dst, ok := g.ewkb(dst, text)
	return append(dst, `,"extensions":null}`...), ok
}

// postgisGeography is like postgisGeometry, without extensions.
func (g *geometries) postgisGeography(dst, text []byte) ([]byte, bool) {
	dst, ok := g.ewkb(dst, text)
	return append(dst, '}'), ok
}

func (g *geometries) ewkb(dst, text []byte) ([]byte, bool) {
	raw, err := hex.AppendDecode(g.wkb[:0], text)
	g.wkb = raw
	if err != nil || len(raw) < 9 { // at least a byte order, a type, and a count, SRID or coordinate
		return dst, false
	}
	dst = record.AppendJSONBase64(append(dst, `{"wkb":`...), raw)
	dst = append(dst, `,"srid":`...)
	order := binary.ByteOrder(binary.BigEndian)
	if raw[0] != 0 {
		order = binary.LittleEndian
	}
	if order.Uint32(raw[1:])&ewkbSRID == 0 {
		return append(dst, "null"...), true
	}
	return appendInt(dst, int64(int32(order.Uint32(raw[5:])))), true
}

// read sets g.numbers to the numbers of text, ignoring the brackets and commas between them. It needs at least two numbers.
func (g *geometries) read(text []byte, open, end string) bool {
	g.numbers = g.numbers[:0]
	if !bytes.HasPrefix(text, []byte(open)) || !bytes.HasSuffix(text, []byte(end)) {
		return false
	}
	for len(text) > 0 {
		size := bytes.IndexAny(text, "()[]<>{},")
		if size < 0 {
			return false
		}
		if size > 0 {
			number, ok := parseFloat(text[:size], 64)
			if !ok {
				return false
			}
			g.numbers = append(g.numbers, number)
		}
		text = text[size+1:]
	}
	return len(g.numbers) >= 2
}

func (g *geometries) appendPoint(dst []byte) []byte {
	dst = appendJavaFloat(append(dst, `{"x":`...), g.numbers[0], 64)
	dst = appendJavaFloat(append(dst, `,"y":`...), g.numbers[1], 64)
	dst = append(dst, `,"wkb":`...)
	g.writeHeader(wkbPoint)
	g.writeCoordinates(g.numbers[:2])
	dst = record.AppendJSONBase64(dst, g.wkb)
	return append(dst, `,"srid":null}`...)
}

func (g *geometries) appendGeometry(dst []byte, extensions string) []byte {
	dst = record.AppendJSONBase64(append(dst, `{"wkb":`...), g.wkb)
	dst = append(dst, `,"srid":null,"extensions":{`...)
	dst = append(dst, extensions...)
	return append(dst, '}', '}')
}

func (g *geometries) writeLineString() {
	g.writeHeader(wkbLineString)
	g.writeCount(len(g.numbers) / 2)
	g.writeCoordinates(g.numbers[:len(g.numbers)&^1])
}

func (g *geometries) writePolygonRing() {
	g.writeHeader(wkbPolygon)
	g.writeCount(1)
	g.writeCount(len(g.numbers) / 2)
	g.writeCoordinates(g.numbers[:len(g.numbers)&^1])
}

// writeHeader starts a little-endian WKB value.
func (g *geometries) writeHeader(kind byte) { g.wkb = append(g.wkb[:0], 1, kind, 0, 0, 0) }

func (g *geometries) writeCount(n int) {
	g.wkb = binary.LittleEndian.AppendUint32(g.wkb, uint32(n))
}

func (g *geometries) writeCoordinates(numbers []float64) {
	for _, f := range numbers {
		g.wkb = binary.LittleEndian.AppendUint64(g.wkb, math.Float64bits(f))
	}
}
