package proxy

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
)

// SCRAM passes byte for byte, but for channel binding, which ties it to the TLS connection of one leg:
//
//	client leg  server leg  what happens
//	plain       plain       the server offers no binding
//	TLS         plain       the same; a client that could bind says "y", which a server without TLS accepts
//	plain       TLS         the server's offer is taken out: the client could not take it
//	TLS         TLS         with the server's own certificate on the proxy the offer stands, and holds from end to
//	                        end, channel_binding=require included; with another one the offer is taken out, and
//	                        a client that says "y" is told to set channel_binding=disable
const (
	authenticationSASL = 10 // "Message Formats", PostgreSQL documentation 55.7
	bindingMechanism   = "SCRAM-SHA-256-PLUS"
	scramMechanism     = "SCRAM-SHA-256"
)

// withoutBinding reports whether the server's offer of channel binding has to be taken out.
func (s *session) withoutBinding() bool {
	_, encrypted := s.server.(*tls.Conn)
	return encrypted && !sameCertificate(s.clientTLS, s.server)
}

// offersBinding reports whether an Authentication message lists the SASL mechanism with channel binding.
func offersBinding(m message) bool {
	return m.kind == 'R' && m.whole() && len(m.body) > 4 && binary.BigEndian.Uint32(m.body) == authenticationSASL &&
		bytes.Contains(m.body[4:], []byte(bindingMechanism+"\x00"))
}

// appendOffer appends an AuthenticationSASL message without channel binding.
func appendOffer(dst, body []byte) []byte {
	return appendMessage(dst, 'R', func(dst []byte) []byte {
		dst = append(dst, body[:4]...)
		for rest := body[4:]; len(rest) > 0 && rest[0] != 0; {
			name, after, ok := cutString(rest)
			if !ok {
				break
			}
			if string(name) != bindingMechanism {
				dst = append(append(dst, name...), 0)
			}
			rest = after
		}
		return append(dst, 0)
	})
}

// missesBinding reports whether a SASLInitialResponse says "I can bind the channel, but the server cannot":
// a server with TLS takes that for a downgrade and refuses (RFC 5802, section 6). Shape: mechanism, length of the data, data.
func missesBinding(m message) bool {
	mechanism, rest, ok := cutString(m.body)
	return ok && string(mechanism) == scramMechanism && len(rest) > 4 && bytes.HasPrefix(rest[4:], []byte("y,"))
}
