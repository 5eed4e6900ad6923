package main

import (
	"net"
	"time"
)

// latency is a TCP hop that delays all data by the same time without reducing the bandwidth.
type latency struct {
	address  string
	listener net.Listener
}

func newLatency(target string, oneWay time.Duration) (*latency, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() { // ends with the listener
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			go carry(client, server, oneWay)
			go carry(server, client, oneWay)
		}
	}()
	return &latency{listener.Addr().String(), listener}, nil
}

func (l *latency) close() { l.listener.Close() }

// piece is data in transit.
type piece struct {
	due  time.Time
	data []byte
}

func carry(from, to net.Conn, oneWay time.Duration) {
	way := make(chan piece, 4096)
	go func() {
		defer to.Close()
		for p := range way {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.data); err != nil {
				from.Close()
			}
		}
	}()
	defer close(way)
	for {
		buffer := make([]byte, 32<<10)
		n, err := from.Read(buffer)
		if n > 0 {
			way <- piece{time.Now().Add(oneWay), buffer[:n]}
		}
		if err != nil {
			return
		}
	}
}
