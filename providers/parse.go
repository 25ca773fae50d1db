package providers

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/latchpost/latchpost/providers/strictjson"
)

// MaxBytes is the largest definition that is read.
const MaxBytes = 256 << 10

// FieldError is one thing wrong with a definition.
type FieldError struct {
	// File is the name given to Parse.
	File string
	// Path of the field, for example oauth2.token.url. Empty for the file as a whole.
	Path string
	// Reason is a short sentence.
	Reason string
}

func (e *FieldError) Error() string {
	if e.Path == "" {
		return e.File + ": " + e.Reason
	}
	return e.File + ": " + e.Path + ": " + e.Reason
}

// Parse reads one definition and checks all of it. The name is the file's name, and
// without its directory and .json it must be the id. The error joins one *FieldError
// for everything that is wrong, in the order of the format.
func Parse(name string, data []byte, opt Options) (*Provider, error) {
	p := new(Provider)
	err := strictjson.Decode(data, p, strictjson.Limits{Bytes: MaxBytes, Depth: 12})
	var bad *strictjson.Error
	if errors.As(err, &bad) {
		return nil, &FieldError{name, bad.Path, bad.Reason}
	}
	if err != nil {
		return nil, err
	}
	c := check{p: p, opt: opt, file: name, id: strings.TrimSuffix(filepath.Base(name), ".json")}
	c.all()
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	return p, nil
}

// clone makes a deep copy.
func (p *Provider) clone() *Provider {
	data, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings, numbers and booleans always encode
	}
	out := new(Provider)
	if err := json.Unmarshal(data, out); err != nil {
		panic(err)
	}
	out.Custom = p.Custom
	return out
}

// check collects what is wrong with one definition.
type check struct {
	p    *Provider
	opt  Options
	file string
	id   string
	errs []error
}

func (c *check) failf(path, format string, args ...any) {
	c.errs = append(c.errs, &FieldError{c.file, path, fmt.Sprintf(format, args...)})
}

// fail records an error, if there is one.
func (c *check) fail(path string, err error) {
	if err != nil {
		c.failf(path, "%s", err)
	}
}

// need records that a field must not be empty.
func need[T comparable](c *check, path string, v T) {
	var zero T
	if v == zero {
		c.failf(path, "is missing")
	}
}
