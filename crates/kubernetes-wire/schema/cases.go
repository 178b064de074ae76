package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"log"
	"math"
	"math/rand/v2"
	"reflect"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsbeta "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Deepest that structs are filled: schemas lie in schemas.
const deepest = 9

// Makes things up. The same seed makes the same.
type filler struct {
	*rand.Rand
	// Of ten, how many of what need not be there are.
	often int
}

var strings_ = []string{
	"", "a", "app", "nginx:1.27", "/var/run", "kube-system", "true", "0", "null",
	"\"quoted\" \\ <b>&amp;</b>", "two\nlines\tand\u0000\u001f\u007f", "größe \u2028 €", "😀\ufeff",
}

var rawJSON = []string{
	"{}", "[]", "null", "true", "-0.5e-3", "18446744073709551615", `"text \u00e9"`,
	`{"a":{"b":[1,2,{"c":null}]},"d":"<>"}`, ` { "spaced" : [ ] } `,
}

var quantities = []string{"0", "1", "100m", "-2", "128Mi", "1500n", "3e9", "2E", "17Ki"}

var integers = []int64{
	0, 0, 1, -1, 2, 80, 127, 128, 300, 65535, math.MaxInt32, math.MinInt32, math.MaxInt64,
	math.MinInt64,
}

var floats = []float64{
	0, 1, -1, 0.1, 1e21, 1e20, 123456789.125, 5e-324, math.MaxFloat64, 1e-7, math.Copysign(0, -1),
}

func one[T any](f *filler, of []T) T { return of[f.IntN(len(of))] }

func (f *filler) moment() time.Time {
	if f.IntN(8) == 0 {
		return time.Time{}
	}
	// To the year 9999, and back to 1: JSON has no others.
	seconds := f.Int64N(253402300799+62135596800) - 62135596800
	return time.Unix(seconds, f.Int64N(1_000_000)*1000)
}

// Fills what has JSON of its own; false if it has none.
func (f *filler) special(it any) bool {
	switch it := it.(type) {
	case *meta.Time:
		it.Time = f.moment().Truncate(time.Second)
	case *meta.MicroTime:
		it.Time = f.moment()
	case *meta.Duration:
		it.Duration = time.Duration(one(f, integers) >> f.IntN(60))
	case *resource.Quantity:
		*it = resource.MustParse(one(f, quantities))
	case *intstr.IntOrString:
		*it = intstr.FromInt32(int32(one(f, integers)))
		if f.IntN(2) == 0 {
			*it = intstr.FromString(one(f, strings_))
		}
	case *runtime.RawExtension:
		it.Raw = f.raw()
	case *meta.FieldsV1:
		it.SetRawBytes(f.raw())
	case *apiextensions.JSON:
		it.Raw = f.raw()
	case *apiextensionsbeta.JSON:
		it.Raw = f.raw()
	// A schema says that more may be there, in both.
	case *apiextensions.JSONSchemaPropsOrBool:
		it.Allows = f.IntN(2) == 0
	case *apiextensionsbeta.JSONSchemaPropsOrBool:
		it.Allows = f.IntN(2) == 0
	default:
		return false
	}
	return true
}

func (f *filler) raw() []byte {
	if f.IntN(8) == 0 {
		return nil
	}
	return []byte(one(f, rawJSON))
}

func (f *filler) fill(v reflect.Value, depth int) {
	if f.special(v.Addr().Interface()) {
		f.orSchema(v, depth)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if depth < deepest && f.IntN(10) < f.often {
			v.Set(reflect.New(v.Type().Elem()))
			f.fill(v.Elem(), depth)
		}
	case reflect.Struct:
		if _, is := schemaOr[v.Type()]; is {
			f.orSchema(v, depth)
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).Type != typeMeta {
				f.fill(v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(one(f, strings_)))
			return
		}
		// In a message of its own it can be sent empty, but it is not nothing then.
		own := reflect.PointerTo(v.Type()).Implements(unmarshalerType)
		if own || depth < deepest && f.IntN(10) < f.often {
			n := 1 + f.IntN(2) // Protobuf has no empty ones.
			v.Set(reflect.MakeSlice(v.Type(), n, n))
			for i := range n {
				f.fill(v.Index(i), depth+1)
			}
		}
	case reflect.Map:
		if depth < deepest && f.IntN(10) < f.often {
			v.Set(reflect.MakeMap(v.Type()))
			for range 1 + f.IntN(2) {
				value := reflect.New(v.Type().Elem()).Elem()
				f.fill(value, depth+1)
				v.SetMapIndex(reflect.ValueOf(one(f, strings_)).Convert(v.Type().Key()), value)
			}
		}
	case reflect.String:
		v.SetString(one(f, strings_))
	case reflect.Bool:
		v.SetBool(f.IntN(2) == 0)
	case reflect.Int32:
		v.SetInt(int64(int32(one(f, integers))))
	case reflect.Int64:
		v.SetInt(one(f, integers))
	case reflect.Float64:
		v.SetFloat(one(f, floats))
	case reflect.Interface: // An object, not sent.
	default:
		log.Fatalf("%s: nothing to fill it with", v.Type())
	}
}

// Fills one of what a type that stands for a schema or something else can be.
func (f *filler) orSchema(v reflect.Value, depth int) {
	if _, is := schemaOr[v.Type()]; !is {
		return
	}
	for i := range v.NumField() {
		it := v.Field(i)
		if it.Kind() == reflect.Bool || f.IntN(2) == 0 {
			continue
		}
		f.fill(it, depth+1)
		if it.Kind() == reflect.Pointer && it.IsNil() || it.Kind() == reflect.Slice && it.Len() == 0 {
			it.SetZero()
			continue
		}
		if allows := v.FieldByName("Allows"); allows.IsValid() {
			allows.SetBool(true)
		}
		return
	}
}

// Makes up an object of each type, in each round, and gives it as protobuf and as JSON. What is of
// the same type in many groups is made in one of them.
func eachCase(
	all []kind, rounds, seed uint64, give func(k kind, sent, text []byte, r *rand.Rand),
) {
	encoder := protobuf.NewSerializer(nil, nil)
	for round := range rounds {
		seen := map[reflect.Type]bool{}
		for i, k := range all {
			if seen[k.t] {
				continue
			}
			seen[k.t] = true
			random := rand.New(rand.NewPCG(seed, round<<32|uint64(i)))
			f := filler{random, 1 + random.IntN(int(5+round%3))}
			v := reflect.New(k.t)
			f.fill(v.Elem(), 0)
			object := v.Interface().(runtime.Object)
			object.GetObjectKind().SetGroupVersionKind(k.GroupVersionKind)
			var sent bytes.Buffer
			if err := encoder.Encode(object, &sent); err != nil {
				log.Fatalf("%v: %v", k, err)
			}
			text, err := json.Marshal(object)
			if err != nil {
				log.Fatalf("%v: %v", k, err)
			}
			give(k, sent.Bytes(), text, random)
		}
	}
}

// Writes, for each, its protobuf and its JSON.
func writeCases(out io.Writer, rounds, seed uint64) {
	all, _ := kinds()
	count := 0
	eachCase(all, rounds, seed, func(_ kind, sent, text []byte, _ *rand.Rand) {
		writePart(out, sent)
		writePart(out, text)
		count++
	})
	log.Printf("%d objects", count)
}

// Writes some bytes behind their length, which is four bytes, the largest first.
func writePart(out io.Writer, part []byte) {
	length := binary.BigEndian.AppendUint32(nil, uint32(len(part)))
	if _, err := out.Write(append(length, part...)); err != nil {
		log.Fatal(err)
	}
}
