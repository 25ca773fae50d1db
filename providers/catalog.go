package providers

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// catalog/ holds what we ship; catalog/loopback/ what only makes sense on one machine.
//
//go:embed catalog
var embedded embed.FS

// Options relax the checks. The zero value is the strict one.
type Options struct {
	// Loopback lets http://127.0.0.1 URLs pass and adds the practice provider (--unsafe-loopback).
	Loopback bool
	// Defaults answer the questions of definitions beforehand, by provider and variable: {"gitlab": {"host": "git.example.com"}}.
	Defaults map[string]map[string]string
}

// Catalog is a fixed set of providers. It is safe for concurrent use; the providers
// it hands out are shared and must not be changed (Resolve makes a copy).
//
// What we ship is read when it is first asked for: checking a hundred definitions
// takes longer than the rest of a start.
type Catalog struct {
	byID map[string]func() (*Provider, error)
	ids  []string // sorted
}

// UnknownError says that there is no such provider.
type UnknownError struct {
	// ID is what was asked for.
	ID string
	// Nearest are the ids that look most like it, the nearest first, three at most.
	Nearest []string
}

func (e *UnknownError) Error() string {
	id := e.ID
	if len(id) > 64 {
		id = id[:64] + "…"
	}
	if len(e.Nearest) == 0 {
		return fmt.Sprintf("no provider %q; list_providers shows what there is", id)
	}
	return fmt.Sprintf("no provider %q; did you mean %s?", id, strings.Join(e.Nearest, " or "))
}

// Load reads the embedded catalogue, and every *.json file in dir (none if dir is
// empty). Providers from dir are Custom; one whose id or name could be taken for another
// provider's is refused. The error names every file that is wrong; with it comes the catalogue without those files, nil
// when more than a file is wrong.
func Load(dir string, opt Options) (*Catalog, error) {
	c := &Catalog{byID: map[string]func() (*Provider, error){}}
	errs := c.ship("catalog", opt)
	if opt.Loopback {
		errs = append(errs, c.ship("catalog/loopback", opt)...)
	}
	var broken []error
	if _, err := os.ReadDir(dir); dir != "" && err != nil {
		errs = append(errs, fmt.Errorf("your own provider definitions: %w", err))
	} else if dir != "" {
		broken = c.add(dir, opt)
	}
	errs = append(errs, c.answer(opt.Defaults, len(broken) > 0))
	if errors.Join(errs...) != nil {
		return nil, errors.Join(append(broken, errs...)...)
	}
	c.ids = slices.Sorted(maps.Keys(c.byID))
	return c, errors.Join(broken...)
}

// answer makes the given values the defaults of variables. Where files are left out, some may be for those.
func (c *Catalog) answer(defaults map[string]map[string]string, partly bool) error {
	for id, values := range defaults {
		p, err := c.Get(id)
		if err != nil && partly {
			continue
		}
		if err != nil {
			return err
		}
		for name, value := range values {
			v, ok := p.Vars[name]
			if !ok {
				return fmt.Errorf("%s has no variable %q", id, name)
			}
			if err := v.check(name, value); err != nil {
				return fmt.Errorf("%s: %w", id, err)
			}
			v.Default = value
			p.Vars[name] = v
		}
	}
	return nil
}

// ship enters the definitions of an embedded directory, unread.
func (c *Catalog) ship(dir string, opt Options) []error {
	names, err := definitions(embedded, dir)
	for _, name := range names {
		c.byID[strings.TrimSuffix(name, ".json")] = sync.OnceValues(func() (*Provider, error) {
			data, err := read(embedded, dir+"/"+name)
			if err != nil {
				return nil, err
			}
			return Parse(name, data, opt)
		})
	}
	return err
}

// add enters the definitions of the owner's directory, checked.
func (c *Catalog) add(dir string, opt Options) []error {
	from := os.DirFS(dir)
	names, errs := definitions(from, ".")
	for _, name := range names {
		p, err := c.custom(from, name, opt)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.byID[p.ID] = func() (*Provider, error) { return p, nil }
	}
	return errs
}

func (c *Catalog) custom(from fs.FS, name string, opt Options) (*Provider, error) {
	data, err := read(from, name)
	if err != nil {
		return nil, &FieldError{name, "", err.Error()}
	}
	p, err := Parse(name, data, opt)
	if err != nil {
		return nil, err
	}
	p.Custom = true
	return p, c.original(name, p)
}

// definitions names the *.json files of a directory.
func definitions(from fs.FS, dir string) (names []string, errs []error) {
	entries, err := fs.ReadDir(from, dir)
	if err != nil {
		return nil, []error{fmt.Errorf("read provider definitions: %w", err)}
	}
	for _, entry := range entries {
		if !entry.IsDir() && filepath.Ext(entry.Name()) == ".json" {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// read takes one byte more than allowed, so that Parse can refuse the file. A pipe would be waited for.
func read(from fs.FS, name string) ([]byte, error) {
	if info, err := fs.Stat(from, name); err != nil || !info.Mode().IsRegular() {
		return nil, cmp.Or(err, errors.New("is not a file"))
	}
	f, err := from.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxBytes+1))
}

// original refuses a definition that a person could take for another one.
func (c *Catalog) original(name string, p *Provider) error {
	for _, id := range slices.Sorted(maps.Keys(c.byID)) {
		have, err := c.byID[id]()
		if err != nil {
			return err
		}
		switch {
		case p.ID == have.ID:
			return &FieldError{name, "id", "is taken by " + have.Name + "; choose another, such as " + p.ID + "-own"}
		case confusable(p.ID, have.ID):
			return &FieldError{name, "id", "looks like " + have.ID + "; choose one that nobody takes for it"}
		case confusable(p.Name, have.Name):
			return &FieldError{name, "name", "looks like " + have.Name + "; choose one that nobody takes for it"}
		}
	}
	return nil
}

// Get returns the provider with exactly this id. The error is an *UnknownError.
func (c *Catalog) Get(id string) (*Provider, error) {
	if load, ok := c.byID[id]; ok {
		return load()
	}
	return nil, &UnknownError{ID: id, Nearest: nearest(id, c.ids)}
}

// Search finds providers by words of their id, name, keywords and category, the best
// first and equals by id. An empty query finds all; so does an empty method (see
// Provider.Methods), which otherwise must be offered. A limit of zero or less is none.
func (c *Catalog) Search(query, method string, limit int) []*Provider {
	words := strings.Fields(strings.ToLower(query))
	score := map[string]int{}
	var found []*Provider
	for _, id := range c.ids {
		p, err := c.byID[id]()
		if err != nil { // only in a file that we ship, and TestCatalog reads those
			continue
		}
		if method != "" && !slices.Contains(p.Methods(), method) {
			continue
		}
		if s, ok := p.score(words); ok {
			score[id] = s
			found = append(found, p)
		}
	}
	slices.SortStableFunc(found, func(a, b *Provider) int { return score[b.ID] - score[a.ID] })
	if limit > 0 && len(found) > limit {
		found = found[:limit]
	}
	return found
}

// score tells how well a provider fits; every word must be found somewhere.
func (p *Provider) score(words []string) (total int, ok bool) {
	name := strings.ToLower(p.Name)
	for _, w := range words {
		keyword := slices.ContainsFunc(p.Keywords, func(k string) bool { return strings.Contains(strings.ToLower(k), w) })
		switch {
		case p.ID == w || name == w:
			total += 16
		case strings.HasPrefix(p.ID, w) || strings.HasPrefix(name, w):
			total += 8
		case keyword:
			total += 4
		case strings.Contains(p.ID, w) || strings.Contains(name, w):
			total += 2
		case strings.Contains(p.Category, w):
			total++
		default:
			return 0, false
		}
	}
	return total, true
}
