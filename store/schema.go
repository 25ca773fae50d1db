package store

import (
	"context"
	"strings"

	"zombiezen.com/go/sqlite"
)

// table is one of the schema, as the migrations leave it.
type table struct {
	name   string
	fields []field
}

// field is a column, with its type in the words of the migrations.
type field struct{ name, kind string }

// schema gives all tables in the order in which they were made: a row comes behind those that it refers to. It runs the
// migrations in memory, because beside our tables a database in use may hold those of others.
func schema(ctx context.Context) (all []table, err error) {
	c, err := openConn("/schema", settings{flags: sqlite.OpenReadWrite | sqlite.OpenCreate, query: "mode=memory"})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	texts, err := migrations()
	if err != nil {
		return nil, err
	}
	for _, text := range texts {
		if _, err := c.exec(ctx, text); err != nil {
			return nil, err
		}
	}
	_, err = collect(ctx, c, func(s scanner) (_ struct{}, err error) {
		var name string
		var f field
		if err := s.Scan(&name, &f.name, &f.kind); err != nil {
			return struct{}{}, err
		}
		if len(all) == 0 || all[len(all)-1].name != name {
			all = append(all, table{name: name})
		}
		last := &all[len(all)-1]
		last.fields = append(last.fields, f)
		return struct{}{}, nil
	}, `SELECT t.name, f.name, f.type FROM sqlite_schema AS t, pragma_table_info(t.name) AS f WHERE t.type = 'table' ORDER BY t.rowid, f.cid`)
	return all, err
}

// columns are the names of all, as a statement lists them.
func (t table) columns() string {
	names := make([]string, len(t.fields))
	for i, f := range t.fields {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}
