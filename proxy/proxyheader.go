package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// The header with which a load balancer begins a connection, in order to name the client: "The PROXY protocol, versions 1 & 2", HAProxy.
const (
	headerSignature = "\r\n\r\n\x00\r\nQUIT\n" // of version 2
	headerLine      = "PROXY "                 // of version 1
	maxHeaderLine   = 107                      // of version 1, including CR LF
	maxHeaderBytes  = 4096                     // of version 2, including extensions
)

var errProxyHeader = errors.New("the connection does not begin with a PROXY protocol header; --proxy-protocol requires one")

// readProxyHeader reads exactly the header. The address is invalid if the header names no client: a health check by the load balancer itself.
func readProxyHeader(from io.Reader) (client netip.AddrPort, err error) {
	start := make([]byte, len(headerSignature), maxHeaderLine)
	if _, err := io.ReadFull(from, start); err != nil {
		return client, err
	}
	switch {
	case string(start) == headerSignature:
		return readHeaderV2(from)
	case bytes.HasPrefix(start, []byte(headerLine)):
		return readHeaderV1(from, start)
	}
	return client, errProxyHeader
}

// readHeaderV1 reads "PROXY TCP4 192.0.2.1 192.0.2.2 56324 5432\r\n", of which start has already been read.
func readHeaderV1(from io.Reader, start []byte) (client netip.AddrPort, err error) {
	line := start
	for line[len(line)-1] != '\n' {
		if len(line) == maxHeaderLine {
			return client, errProxyHeader
		}
		line = line[:len(line)+1]
		if _, err := io.ReadFull(from, line[len(line)-1:]); err != nil {
			return client, err
		}
	}
	words := strings.Split(strings.TrimSuffix(string(line), "\r\n"), " ")
	switch {
	case len(words) >= 2 && words[1] == "UNKNOWN":
		return client, nil
	case len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6":
		return client, errProxyHeader
	}
	address, err := netip.ParseAddr(words[2])
	port, err2 := strconv.ParseUint(words[4], 10, 16)
	if err := errors.Join(err, err2); err != nil {
		return client, fmt.Errorf("PROXY protocol header: %w", err)
	}
	return netip.AddrPortFrom(address, uint16(port)), nil
}

// readHeaderV2 reads what follows the signature: version and command, family, length, addresses.
func readHeaderV2(from io.Reader) (client netip.AddrPort, err error) {
	const proxied, overTCP4, overTCP6 = 0x21, 0x11, 0x21
	var head [4]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return client, err
	}
	size := int(binary.BigEndian.Uint16(head[2:]))
	if head[0]>>4 != 2 || size > maxHeaderBytes {
		return client, errProxyHeader
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(from, body); err != nil {
		return client, err
	}
	var length int
	switch {
	case head[0] != proxied:
		return client, nil
	case head[1] == overTCP4:
		length = 4
	case head[1] == overTCP6:
		length = 16
	default:
		return client, nil
	}
	if size < 2*length+4 {
		return client, errProxyHeader
	}
	address, _ := netip.AddrFromSlice(body[:length])
	return netip.AddrPortFrom(address, binary.BigEndian.Uint16(body[2*length:])), nil
}
