package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// clientTLS returns the configuration for TLS connections to a server: the trusted CA and the client certificate. Its files, each "" if there is
// none, are those of the flags <flag>-ca, <flag>-cert and <flag>-key.
func clientTLS(flag, ca, cert, key string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("%s-ca: %w", flag, err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s-ca: %s holds no certificate in PEM form", flag, ca)
		}
	}
	var err error
	config.Certificates, err = certificates(flag, cert, key)
	return config, err
}

// certificates returns the certificate of the flags <flag>-cert and <flag>-key; none if they are not given.
func certificates(flag, cert, key string) ([]tls.Certificate, error) {
	switch {
	case (cert == "") != (key == ""):
		return nil, fmt.Errorf("%[1]s-cert and %[1]s-key belong together", flag)
	case cert == "":
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s-cert: %w", flag, err)
	}
	return []tls.Certificate{certificate}, nil
}
