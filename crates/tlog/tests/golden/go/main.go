// Writes the golden files in the folder above with Go's own implementation
// (golang.org/x/mod/sumdb/note and tlog). The private key is made here, used
// once and forgotten. Run `go run . ..` in this folder to make them anew.
package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		out = append(out, h[i])
	}
	return out, nil
}

const origin = "golden.example/log"

func main() {
	const leaves = 600
	var stored hashes
	var roots, inclusion, consistency, tiles strings.Builder
	sizes := []int64{1, 2, 3, 5, 7, 8, 13, 64, 255, 256, 257, 300, 511, 512, 513, 600}
	for i := int64(0); i < leaves; i++ {
		more, err := tlog.StoredHashes(i, []byte(fmt.Sprintf("entry %d", i)), stored)
		check(err)
		stored = append(stored, more...)
		root, err := tlog.TreeHash(i+1, stored)
		check(err)
		fmt.Fprintf(&roots, "%d %v\n", i+1, root)
	}
	for _, size := range sizes {
		for _, index := range []int64{0, 1, size / 3, size / 2, size - 1} {
			if index >= size {
				continue
			}
			proof, err := tlog.ProveRecord(size, index, stored)
			check(err)
			fmt.Fprintf(&inclusion, "%d %d%s\n", size, index, list(proof))
		}
		for _, old := range sizes {
			if old > size {
				continue
			}
			proof, err := tlog.ProveTree(size, old, stored)
			check(err)
			fmt.Fprintf(&consistency, "%d %d%s\n", size, old, list(proof))
		}
	}
	before := int64(0)
	for _, size := range sizes {
		for _, t := range tlog.NewTiles(8, before, size) {
			data, err := tlog.ReadTileData(t, stored)
			check(err)
			// Go's own path has the tile height in it, which C2SP dropped.
			path := strings.Replace(t.Path(), "tile/8/", "tile/", 1)
			fmt.Fprintf(&tiles, "%d %s %v\n", size, path, tlog.RecordHash(data))
		}
		before = size
	}

	skey, vkey, err := note.GenerateKey(rand.Reader, origin)
	check(err)
	signer, err := note.NewSigner(skey)
	check(err)
	root, err := tlog.TreeHash(leaves, stored)
	check(err)
	text := fmt.Sprintf("%s\n%d\n%v\n", origin, leaves, root)
	msg, err := note.Sign(&note.Note{Text: text}, signer)
	check(err)

	for name, data := range map[string]string{
		"roots.txt": roots.String(), "inclusion.txt": inclusion.String(),
		"consistency.txt": consistency.String(), "tiles.txt": tiles.String(),
		"checkpoint.txt": string(msg), "vkey.txt": vkey + "\n",
	} {
		check(os.WriteFile(filepath.Join(os.Args[1], name), []byte(data), 0o644))
	}
}

func list(proof []tlog.Hash) string {
	var out strings.Builder
	for _, h := range proof {
		fmt.Fprintf(&out, " %v", h)
	}
	return out.String()
}
