package providers

import "fmt"

// Options relax the checks. The zero value is the strict one.
type Options struct {
	// Loopback lets http://127.0.0.1 URLs pass and adds the practice provider (--unsafe-loopback).
	Loopback bool
}

// Catalog is a fixed set of providers. It is safe for concurrent use.
type Catalog struct {
	byID map[string]*Provider
	ids  []string // sorted
}

// UnknownError says that there is no such provider.
type UnknownError struct {
	ID string
	// Nearest are the ids that look most like it, the nearest first, three at most.
	Nearest []string
}

func (e *UnknownError) Error() string {
	return fmt.Sprintf("no provider %q", e.ID)
}
