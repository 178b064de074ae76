package main

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"log"
	"math/rand/v2"

	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
)

// A field as it was sent: its tag, and its value as far as that can be told.
type sent struct {
	number uint64
	wire   byte
	value  []byte
	fields []sent
}

// Reads a message; false if it can't be one.
func parse(bytes []byte) ([]sent, bool) {
	var fields []sent
	for len(bytes) > 0 {
		tag, n := binary.Uvarint(bytes)
		if n <= 0 || tag>>3 == 0 || tag>>3 > 2000 {
			return nil, false
		}
		bytes = bytes[n:]
		f := sent{number: tag >> 3, wire: byte(tag & 7)}
		length := 0
		switch f.wire {
		case 0:
			if _, length = binary.Uvarint(bytes); length <= 0 {
				return nil, false
			}
		case 1:
			length = 8
		case 2:
			inner, n := binary.Uvarint(bytes)
			if n <= 0 || inner > uint64(len(bytes)) {
				return nil, false
			}
			bytes, length = bytes[n:], int(inner)
		default:
			return nil, false
		}
		if length > len(bytes) {
			return nil, false
		}
		f.value, bytes = bytes[:length], bytes[length:]
		if f.wire == 2 {
			f.fields, _ = parse(f.value)
		}
		fields = append(fields, f)
	}
	return fields, true
}

func write(fields []sent) []byte {
	var out []byte
	for _, f := range fields {
		out = binary.AppendUvarint(out, f.number<<3|uint64(f.wire))
		value := f.value
		if f.fields != nil {
			value = write(f.fields)
		}
		if f.wire == 2 {
			out = binary.AppendUvarint(out, uint64(len(value)))
		}
		out = append(out, value...)
	}
	return out
}

// Changes one thing somewhere in a message: lengths around it stay right, so that much of what
// comes of it is read.
func change(r *rand.Rand, fields []sent) []sent {
	if len(fields) == 0 {
		return []sent{{number: 1 + r.Uint64N(4), wire: 2}}
	}
	at := r.IntN(len(fields))
	it := &fields[at]
	if len(it.fields) > 0 && r.IntN(4) > 0 {
		it.fields = change(r, it.fields)
		return fields
	}
	switch r.IntN(7) {
	case 0: // Twice.
		fields = append(fields, *it)
	case 1: // Not at all.
		fields = append(fields[:at:at], fields[at+1:]...)
	case 2: // In another order.
		other := r.IntN(len(fields))
		fields[at], fields[other] = fields[other], fields[at]
	case 3: // As another field.
		it.number = 1 + r.Uint64N(30)
	case 4: // In another place of the same number.
		copied := fields[r.IntN(len(fields))]
		copied.number = it.number
		fields[at] = copied
	default:
		changeValue(r, it)
	}
	return fields
}

func changeValue(r *rand.Rand, it *sent) {
	it.fields = nil
	value := append([]byte{}, it.value...)
	switch {
	case it.wire == 0 && r.IntN(2) == 0:
		it.value = binary.AppendUvarint(nil, r.Uint64()>>r.IntN(64))
		if r.IntN(8) == 0 { // In more bytes than it needs.
			it.value[len(it.value)-1] |= 0x80
			it.value = append(it.value, 0)
		}
	case len(value) == 0 || r.IntN(4) == 0:
		it.value = append(value, byte(r.IntN(256)))
	case r.IntN(3) == 0 && it.wire == 2:
		it.value = value[:r.IntN(len(value))]
	default:
		value[r.IntN(len(value))] ^= 1 << r.IntN(8)
		it.value = value
	}
}

// Writes what writeCases does, of objects that were changed after they had been sent. The JSON is
// that of what Kubernetes reads; there is none where it reads nothing.
func writeMutants(out io.Writer, rounds, seed uint64) {
	all, s := kinds()
	codec := protobuf.NewSerializer(s, s)
	count, understood := 0, 0
	eachCase(all, rounds, seed, func(_ kind, bytes []byte, _ []byte, r *rand.Rand) {
		const magic = 4
		fields, is := parse(bytes[magic:])
		if !is {
			log.Fatal("an object that is none")
		}
		for range 1 + r.IntN(2) {
			fields = change(r, fields)
		}
		bytes = append(bytes[:magic:magic], write(fields)...)
		var text []byte
		if object, _, err := codec.Decode(bytes, nil, nil); err == nil {
			if text, err = json.Marshal(object); err != nil {
				text = nil
			} else {
				understood++
			}
		}
		writePart(out, bytes)
		writePart(out, text)
		count++
	})
	log.Printf("%d objects, %d of them read", count, understood)
}
