// Tlog verifies a log's tiles with golang.org/x/mod, which shares no line with witgate.
//
// Usage: tlog FOLDER VKEY. FOLDER holds what the log serves below /log/: checkpoint, tile/…; and old-checkpoint, an earlier one.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// The height of C2SP tlog-tiles: 256 hashes a tile.
const height = 8

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: tlog FOLDER VKEY")
		os.Exit(2)
	}
	if err := verify(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "tlog:", err)
		os.Exit(1)
	}
}

func verify(folder, vkey string) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return fmt.Errorf("reading the vkey: %w", err)
	}
	tree, err := checkpoint(filepath.Join(folder, "checkpoint"), verifier)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	old, err := checkpoint(filepath.Join(folder, "old-checkpoint"), verifier)
	if err != nil {
		return fmt.Errorf("old-checkpoint: %w", err)
	}
	hashes := tlog.TileHashReader(tree, tiles{folder})
	root, err := tlog.TreeHash(tree.N, hashes)
	if err != nil {
		return fmt.Errorf("hashing the tree: %w", err)
	}
	if root != tree.Hash {
		return errors.New("the tiles hash to another root")
	}
	for start := int64(0); start < tree.N; start += 1 << height {
		entries, err := bundle(folder, tree.N, start)
		if err != nil {
			return fmt.Errorf("entries from %d: %w", start, err)
		}
		for offset, entry := range entries {
			index := start + int64(offset)
			proof, err := tlog.ProveRecord(tree.N, index, hashes)
			if err != nil {
				return fmt.Errorf("proving entry %d: %w", index, err)
			}
			if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)); err != nil {
				return fmt.Errorf("entry %d: %w", index, err)
			}
		}
	}
	proof, err := tlog.ProveTree(tree.N, old.N, hashes)
	if err != nil {
		return fmt.Errorf("proving consistency: %w", err)
	}
	if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
		return fmt.Errorf("consistency: %w", err)
	}
	fmt.Printf("verified %d entries, consistent with %d\n", tree.N, old.N)
	return nil
}

// checkpoint reads a signed C2SP checkpoint: origin, size, root.
func checkpoint(file string, verifier note.Verifier) (tlog.Tree, error) {
	signed, err := os.ReadFile(file)
	if err != nil {
		return tlog.Tree{}, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("the text is not three lines that open with %q", verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

// path is where C2SP serves what x/mod calls tile/8/….
func path(folder string, tile tlog.Tile) string {
	rest := strings.TrimPrefix(tile.Path(), "tile/8/")
	if data := strings.TrimPrefix(rest, "data/"); data != rest {
		rest = "entries/" + data
	}
	return filepath.Join(folder, "tile", filepath.FromSlash(rest))
}

// bundle reads the entries from start on: a length of two bytes, then the entry.
func bundle(folder string, size, start int64) ([][]byte, error) {
	width := size - start
	if width > 1<<height {
		width = 1 << height
	}
	tile := tlog.Tile{H: height, L: -1, N: start >> height, W: int(width)}
	bytes, err := os.ReadFile(path(folder, tile))
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(bytes) > 0 {
		if len(bytes) < 2 || len(bytes)-2 < int(binary.BigEndian.Uint16(bytes)) {
			return nil, errors.New("an entry is cut")
		}
		length := int(binary.BigEndian.Uint16(bytes))
		entries = append(entries, bytes[2:2+length])
		bytes = bytes[2+length:]
	}
	if int64(len(entries)) != width {
		return nil, fmt.Errorf("%d entries, expected %d", len(entries), width)
	}
	return entries, nil
}

// tiles reads hash tiles from a folder.
type tiles struct{ folder string }

func (tiles) Height() int { return height }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range wanted {
		bytes, err := os.ReadFile(path(t.folder, tile))
		if err != nil {
			return nil, err
		}
		found = append(found, bytes)
	}
	return found, nil
}

func (tiles) SaveTiles([]tlog.Tile, [][]byte) {}
