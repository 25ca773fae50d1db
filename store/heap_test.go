package store

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"unsafe"

	"modernc.org/libc"
)

// The engine's memory is one heap for the whole process, and no detector watches it. Opening connections
// leaves blocks alone that others use meanwhile: one argument too few to sqlite3_db_config, and it writes
// where whatever lay in its place points to. Rows get lost then, or the process dies much later.
func TestOpeningLeavesTheHeapAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchpost.db")
	if err := createFile(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			tls := libc.NewTLS()
			defer tls.Close()
			for ctx.Err() == nil && !t.Failed() {
				var blocks [64]uintptr
				for i := range blocks {
					blocks[i] = libc.Xmalloc(tls, 16)
					*word(&blocks[i]) = uint64(blocks[i])
				}
				for i := range blocks {
					if got := *word(&blocks[i]); got != uint64(blocks[i]) {
						t.Errorf("a block of somebody else's now begins with %#x", got)
					}
					libc.Xfree(tls, blocks[i])
				}
			}
		})
	}
	for range 500 {
		c, err := openConn(path, toWrite)
		if err != nil {
			t.Error(err)
			break
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	stop()
	others.Wait()
}

// word is the first of a block.
func word(block *uintptr) *uint64 { return *(**uint64)(unsafe.Pointer(block)) }
