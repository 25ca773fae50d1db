//go:build !unix

package main

// watched is for the tests that look into the memory of a process.
func watched() { panic("not on this system") }
