package main

import (
	"os"
	"time"
)

// rotatedFile is a file of events that only its owner can read. When it reaches a certain size it is renamed, and a new one is begun.
type rotatedFile struct {
	path  string
	limit int64 // 0: no limit
	file  *os.File
	size  int64
}

func openRotated(path string, limit int64) (*rotatedFile, error) {
	f := &rotatedFile{path: path, limit: limit}
	return f, f.open()
}

func (f *rotatedFile) open() error {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return err
	}
	f.file, f.size = file, info.Size()
	return nil
}

func (f *rotatedFile) Write(b []byte) (int, error) {
	n, err := f.file.Write(b)
	f.size += int64(n)
	return n, err
}

// next begins another file if this one is large enough, and reports whether the current file is empty.
func (f *rotatedFile) next() (empty bool, err error) {
	if f.limit > 0 && f.size >= f.limit {
		err = f.rotate()
	}
	return f.size == 0, err
}

func (f *rotatedFile) rotate() error {
	if err := f.file.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.path, f.path+"."+time.Now().UTC().Format("20060102T150405.000000")); err != nil {
		return err
	}
	return f.open()
}

func (f *rotatedFile) Close() error { return f.file.Close() }
