//go:build !unix

package main

import (
	"os"
	"time"
)

// privateStdout leaves the descriptor as it is; prints through os.Stdout go to standard error.
func privateStdout(f *os.File) (*os.File, error) {
	os.Stdout = os.Stderr
	return f, nil
}

// takes is known of Unix only.
func takes(*os.File, time.Duration) bool { return true }
