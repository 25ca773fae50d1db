//go:build !linux

package main

// alone is for the tests that have a network of their own.
func alone() { panic("not on this system") }
