package proxy

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
)

// SCRAM messages pass unchanged, except for channel binding, which ties the exchange to one leg's TLS connection:
//
//	client leg  server leg  what happens
//	plain       plain       the server offers no binding
//	TLS         plain       the same; a client that could bind says "y", which a server without TLS accepts
//	plain       TLS         the server's offer is removed, since the client could not accept it
//	TLS         TLS         if the proxy has the server's own certificate, the offer stays, and the binding works end
//	                        to end, including channel_binding=require; with another certificate the offer is removed,
//	                        and a client that says "y" is told to set channel_binding=disable
const (
	authenticationSASL = 10 // "Message Formats", PostgreSQL documentation 55.7
	bindingMechanism   = "SCRAM-SHA-256-PLUS"
	scramMechanism     = "SCRAM-SHA-256"
)

// withoutBinding reports whether the server's offer of channel binding must be removed.
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

// missesBinding reports whether a SASLInitialResponse says "I can bind the channel, but the server cannot", which a server with TLS treats as a
// downgrade attack and refuses (RFC 5802, section 6). Format: mechanism, length of the data, data.
func missesBinding(m message) bool {
	mechanism, rest, ok := cutString(m.body)
	return ok && string(mechanism) == scramMechanism && len(rest) > 4 && bytes.HasPrefix(rest[4:], []byte("y,"))
}
