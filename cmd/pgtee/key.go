package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox/note"
)

const keyBytes = 32

// keyFlags say where the master keys for the notes are.
type keyFlags struct {
	Key string `help:"File with the key of the notes, 64 hex digits: the same for proxy and publisher. A second line is another valid key, during a key rotation. run creates the file if it is missing (${default})." default:"pgtee.key" placeholder:"FILE" reload:""`
}

// read returns the keys, the signing key first; the file must exist.
func (f keyFlags) read(log *zap.Logger) ([]note.MasterKey, error) {
	text, err := os.ReadFile(f.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage(fmt.Errorf("--key %s: no such file: copy the one of the other process here, or make one with (umask 077; openssl rand -hex 32 > %s)", f.Key, f.Key))
	}
	if err != nil {
		return nil, usage(fmt.Errorf("--key: %w: make it readable for this user", err))
	}
	keys, err := parseKeys(text)
	if err != nil {
		return nil, usage(fmt.Errorf("--key %s: %w: make one with (umask 077; openssl rand -hex 32 > %s)", f.Key, err, f.Key))
	}
	if exposed(f.Key) {
		log.Warn("others can read the key of the notes: run chmod 600 on it", zap.String("finding", "key-readable"), zap.String("file", f.Key))
	}
	return keys, nil
}

// exposed reports whether others can read a file.
func exposed(path string) bool {
	info, err := os.Stat(path)
	return err == nil && readableByOthers(info, ownGroups())
}

// readableByOthers reports whether users other than the owner and root can read a file. The groups of the process do not count: Kubernetes gives a secret,
// which belongs to root, to the process by a group (fsGroup).
func readableByOthers(info fs.FileInfo, groups []int) bool {
	mode := info.Mode().Perm()
	stat, known := info.Sys().(*syscall.Stat_t)
	own := known && slices.Contains(groups, int(stat.Gid))
	return mode&0o004 != 0 || mode&0o040 != 0 && !own
}

// ownGroups returns the groups of this process.
func ownGroups() []int {
	groups, _ := os.Getgroups() // without them the key counts as readable
	return append(groups, os.Getegid())
}

// parseKeys parses one or two lines of 64 hex digits.
func parseKeys(text []byte) ([]note.MasterKey, error) {
	lines := bytes.Fields(text)
	if len(lines) == 0 || len(lines) > 2 {
		return nil, fmt.Errorf("want one line of %d hex digits, or two", 2*keyBytes)
	}
	var keys []note.MasterKey
	for _, line := range lines {
		key := make(note.MasterKey, keyBytes)
		if len(line) != 2*keyBytes {
			return nil, fmt.Errorf("want %d hex digits in a line and nothing else", 2*keyBytes)
		}
		if _, err := hex.Decode(key, line); err != nil {
			return nil, fmt.Errorf("want %d hex digits in a line and nothing else", 2*keyBytes)
		}
		keys = append(keys, key)
	}
	if len(keys) == 2 && keys[0].ID() == keys[1].ID() {
		return nil, errors.New("the two keys have the same id")
	}
	return keys, nil
}

// readOrMake is like read, but creates the file with mode 0600 if it does not exist.
func (f keyFlags) readOrMake(log *zap.Logger) ([]note.MasterKey, error) {
	file, err := os.OpenFile(f.Key, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return f.read(log)
	}
	if err != nil {
		return nil, usage(fmt.Errorf("--key: %w: name a file in a folder where this user may write", err))
	}
	key := make(note.MasterKey, keyBytes)
	rand.Read(key)
	_, err = fmt.Fprintf(file, "%x\n", []byte(key))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return nil, errors.Join(fmt.Errorf("write the key: %w", err), os.Remove(f.Key))
	}
	log.Info("made a key for the notes", zap.String("file", f.Key))
	return []note.MasterKey{key}, nil
}
