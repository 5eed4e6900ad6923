package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
)

// noteKeyID is the key id in every note as long as there is one key.
const noteKeyID = 1

const keyBytes = 32

// keyFlags say where the key of the notes is.
type keyFlags struct {
	Key string `help:"File with the key of the notes, 64 hex digits: the same for proxy and publisher. run makes it if it is missing (${default})." default:"pgtee.key" placeholder:"FILE"`
}

// read returns the key; the file has to be there.
func (f keyFlags) read(log *zap.Logger) ([]byte, error) {
	text, err := os.ReadFile(f.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage(fmt.Errorf("--key %s: no such file: copy the one of the other process here, or make one with (umask 077; openssl rand -hex 32 > %s)", f.Key, f.Key))
	}
	if err != nil {
		return nil, usage(fmt.Errorf("--key: %w: make it readable for this user", err))
	}
	key := make([]byte, keyBytes)
	text = bytes.TrimSpace(text)
	if n, err := hex.Decode(key, text[:min(len(text), 2*keyBytes)]); err != nil || n != keyBytes || len(text) != 2*keyBytes {
		return nil, usage(fmt.Errorf("--key %s: want %d hex digits and nothing else: make one with (umask 077; openssl rand -hex 32 > %s)", f.Key, 2*keyBytes, f.Key))
	}
	if info, err := os.Stat(f.Key); err == nil && info.Mode().Perm()&0o044 != 0 {
		log.Warn("others can read the key of the notes: run chmod 600 on it", zap.String("file", f.Key))
	}
	return key, nil
}

// readOrMake makes the file with mode 0600 if it is missing.
func (f keyFlags) readOrMake(log *zap.Logger) ([]byte, error) {
	file, err := os.OpenFile(f.Key, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return f.read(log)
	}
	if err != nil {
		return nil, usage(fmt.Errorf("--key: %w: name a file in a folder where this user may write", err))
	}
	key := make([]byte, keyBytes)
	rand.Read(key)
	_, err = fmt.Fprintf(file, "%x\n", key)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("write the key: %w", err), os.Remove(f.Key))
	}
	log.Info("made a key for the notes", zap.String("file", f.Key))
	return key, nil
}

// signers is the key as the publisher checks with it.
func signers(key []byte) map[byte]*outbox.Signer {
	return map[byte]*outbox.Signer{noteKeyID: outbox.NewSigner(noteKeyID, key)}
}
