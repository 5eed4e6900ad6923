package debezium

import (
	"github.com/pgtee/pgtee/publisher/record"
)

// money returns the codec of money for decimal.handling.mode.
func (c *codecs) money() codec {
	digits := c.modes.moneyDigits()
	n := &c.numerics
	switch c.modes.Decimals {
	case DecimalDouble:
		return codec{append: n.moneyAs(appendDecimalDouble), schema: schemaOf(record.Double), zero: "0.0", lossy: exactDecimals}
	case DecimalString:
		return codec{append: n.moneyAs(decimalString(0)), schema: schemaOf(record.String), zero: zeroDecimal(digits)}
	}
	found := codec{append: n.moneyAs(n.rounded(digits)), schema: named(record.Bytes, nameDecimal, parameter("scale", digits)), zero: `"AA=="`}
	if digits < 2 {
		found.lossy = "use --money-fraction-digits 2"
	}
	return found
}

// rounded is like decimal, but rounds half away from zero, as Debezium does for money.
func (n *numerics) rounded(scale int) appendFunc {
	exact := n.decimal(scale)
	return func(dst, text []byte) ([]byte, bool) {
		d, ok := parseDecimal(text)
		if !ok || len(d.fraction) <= scale {
			return exact(dst, text)
		}
		up := d.fraction[scale] >= '5'
		d.fraction = d.fraction[:scale]
		n.load(d, scale)
		if up {
			n.step(1, 1)
		}
		return n.appendBase64(dst, d.negative), true
	}
}

// moneyAs returns an encoder that converts money to a plain number and passes it to encode.
func (n *numerics) moneyAs(encode appendFunc) appendFunc {
	return func(dst, text []byte) ([]byte, bool) {
		if !n.readMoney(text) {
			return dst, false
		}
		return encode(dst, n.plain)
	}
}

// readMoney converts "-$1,234.56" or "($1,234.56)", with or without a currency symbol, to plain "-1234.56". Commas must group three digits and the
// decimal separator must be a point. Text of an lc_monetary with other separators is refused, since "1.234" would become a different number.
func (n *numerics) readMoney(text []byte) bool {
	n.plain = n.plain[:0]
	if len(text) > 0 && (text[0] == '-' || text[0] == '(') {
		n.plain = append(n.plain, '-')
	}
	whole, group, fraction := 0, -1, -1 // number of digits in each part; -1: the part is absent
	for i, c := range text {
		switch {
		case c == '-' || c == '(' || c == ')':
			continue
		case c >= '0' && c <= '9':
			n.plain = append(n.plain, c)
			switch {
			case fraction >= 0:
				fraction++
			case group >= 0:
				group++
			}
			whole++
		case c == ',':
			if whole == 0 || fraction >= 0 || group >= 0 && group != 3 {
				return false
			}
			group = 0
		case c == '.' && i+1 < len(text) && text[i+1] >= '0' && text[i+1] <= '9':
			if whole == 0 || fraction >= 0 {
				return false
			}
			n.plain = append(n.plain, c)
			fraction = 0
		}
	}
	return whole > 0 && (group == -1 || group == 3) && fraction != 0 && fraction != 3
}
