package main

import (
	"encoding"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsbeta "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const legend = `# Kubernetes' types as protobuf and as JSON: made by crates/kubernetes-wire/schema, not by hand.
# A line without "=" behind its first word is a message: its number is its place among those, from
# 0. Each further word is a field: NUMBER FLAGS TYPE ":" NAME. Flags: * repeated, % map by strings,
# ^ its members stand in its parent's object, ? left out when it is zero. Types: s string, y bytes,
# b bool, i int32, l int64, d double, T Time, M MicroTime, D Duration, Q Quantity, I IntOrString,
# X JSON in bytes, L a list of strings in a message; mN the message N; AN BN SN what stands for
# the schema N or an array of it, a bool, an array of strings.
# A line whose first word ends with "=" is an apiVersion: KIND ":" MESSAGE.
`

// Types whose JSON is not that of their fields.
var special = map[reflect.Type]string{
	reflect.TypeFor[meta.Time]():              "T",
	reflect.TypeFor[meta.MicroTime]():         "M",
	reflect.TypeFor[meta.Duration]():          "D",
	reflect.TypeFor[resource.Quantity]():      "Q",
	reflect.TypeFor[intstr.IntOrString]():     "I",
	reflect.TypeFor[runtime.RawExtension]():   "X",
	reflect.TypeFor[meta.FieldsV1]():          "X",
	reflect.TypeFor[apiextensions.JSON]():     "X",
	reflect.TypeFor[apiextensionsbeta.JSON](): "X",
}

// Those that stand for a schema or something else.
var schemaOr = map[reflect.Type]string{
	reflect.TypeFor[apiextensions.JSONSchemaPropsOrArray]():           "A",
	reflect.TypeFor[apiextensionsbeta.JSONSchemaPropsOrArray]():       "A",
	reflect.TypeFor[apiextensions.JSONSchemaPropsOrBool]():            "B",
	reflect.TypeFor[apiextensionsbeta.JSONSchemaPropsOrBool]():        "B",
	reflect.TypeFor[apiextensions.JSONSchemaPropsOrStringArray]():     "S",
	reflect.TypeFor[apiextensionsbeta.JSONSchemaPropsOrStringArray](): "S",
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	typeMeta      = reflect.TypeFor[meta.TypeMeta]()
)

type field struct {
	number int
	flags  string
	code   string
	// Of what code names by number.
	message reflect.Type
	name    string
}

// How it is sent: of which wire types there may be.
func (f field) wireTypes() string {
	switch f.code {
	case "b", "i", "l":
		if f.flags == "*" {
			return "02"
		}
		if !strings.Contains(f.flags, "%") {
			return "0"
		}
	case "d":
		if f.flags == "*" {
			return "12"
		}
		if !strings.Contains(f.flags, "%") {
			return "1"
		}
	}
	return "2"
}

type table struct {
	order  []reflect.Type
	fields map[reflect.Type][]field
}

// Reads a message's type, and those of its fields.
func (t *table) message(m reflect.Type) {
	if _, known := t.fields[m]; known {
		return
	}
	if m.Kind() != reflect.Struct || !reflect.PointerTo(m).Implements(unmarshalerType) {
		log.Fatalf("%s is no message", m)
	}
	t.fields[m] = nil
	t.order = append(t.order, m)
	var fields []field
	for i := range m.NumField() {
		if it, sent := t.field(m, m.Field(i)); sent {
			fields = append(fields, it)
		}
	}
	sort.Slice(fields, func(i, j int) bool { return fields[i].number < fields[j].number })
	t.fields[m] = fields
	probe(m, fields)
	t.members(m, map[string]bool{})
}

func (t *table) field(m reflect.Type, f reflect.StructField) (field, bool) {
	where := fmt.Sprintf("%s.%s", m, f.Name)
	tag := f.Tag.Get("protobuf")
	if tag == "" || tag == "-" {
		if f.Anonymous && f.Type != typeMeta {
			log.Fatalf("%s: embedded, and not sent", where)
		}
		return field{}, false
	}
	parts := strings.Split(tag, ",")
	number, err := strconv.Atoi(parts[1])
	if err != nil {
		log.Fatalf("%s: %s", where, tag)
	}
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	omits := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
	it := field{number: number, name: name}
	inline := f.Anonymous && name == ""
	switch {
	case name == "-":
		log.Fatalf("%s: sent, and not in JSON", where)
	case inline:
		it.flags = "^"
	case strings.Contains(options, "inline"):
		log.Fatalf("%s: inline, and not embedded", where)
	case name == "":
		it.name = f.Name
	}
	zero := false
	it.flags, it.code, it.message, zero = t.typ(where, f.Type, it.flags)
	if zero && omits {
		it.flags += "?"
	}
	if inline && it.code != "m" {
		log.Fatalf("%s: no message to take members of", where)
	}
	return it, true
}

// Flags, code, message, and whether "omitempty" can see that it is zero.
func (t *table) typ(
	where string, f reflect.Type, flags string,
) (string, string, reflect.Type, bool) {
	pointer := f.Kind() == reflect.Pointer
	if pointer {
		f = f.Elem()
	}
	if code, is := special[f]; is {
		return flags, code, nil, false
	}
	if code, is := schemaOr[f]; is {
		schema, _ := f.FieldByName("Schema")
		t.message(schema.Type.Elem())
		return flags, code, schema.Type.Elem(), false
	}
	if f.Implements(jsonMarshaler) || reflect.PointerTo(f).Implements(jsonMarshaler) ||
		f.Implements(textMarshaler) || reflect.PointerTo(f).Implements(textMarshaler) {
		log.Fatalf("%s: %s has JSON of its own", where, f)
	}
	list := f.Kind() == reflect.Slice && f.Elem().Kind() != reflect.Uint8
	if reflect.PointerTo(f).Implements(unmarshalerType) {
		if f.Kind() == reflect.Struct {
			t.message(f)
			return flags, "m", f, false
		}
		if list && f.Elem().Kind() == reflect.String {
			return flags, "L", nil, !pointer
		}
		log.Fatalf("%s: %s is sent in a way of its own", where, f)
	}
	if flags != "" && (list || f.Kind() == reflect.Map) {
		log.Fatalf("%s: %s: a list in a list", where, f)
	}
	switch {
	case list:
		flags, code, message, _ := t.typ(where, f.Elem(), "*")
		return flags, code, message, false
	case f.Kind() == reflect.Map && f.Key().Kind() == reflect.String:
		flags, code, message, _ := t.typ(where, f.Elem(), "%")
		return flags, code, message, false
	}
	code, known := map[reflect.Kind]string{
		reflect.String:  "s",
		reflect.Slice:   "y",
		reflect.Bool:    "b",
		reflect.Int32:   "i",
		reflect.Int64:   "l",
		reflect.Float64: "d",
	}[f.Kind()]
	if !known {
		log.Fatalf("%s: %s", where, f)
	}
	return flags, code, nil, !pointer
}

// Stops if two members of one object would have the same name.
func (t *table) members(m reflect.Type, seen map[string]bool) {
	for _, f := range t.fields[m] {
		if strings.Contains(f.flags, "^") {
			t.members(f.message, seen)
			continue
		}
		if seen[f.name] {
			log.Fatalf("%s: %s twice", m, f.name)
		}
		if strings.ContainsAny(f.name, " :=\n\"\\") || f.name == "" {
			log.Fatalf("%s: %q", m, f.name)
		}
		seen[f.name] = true
	}
}

// Asks the type itself which fields it knows, and in which wire types: its tags say what it should
// be, the code that was made from them what it is.
func probe(m reflect.Type, fields []field) {
	const most = 1500
	known := map[int]string{}
	for _, f := range fields {
		if f.number >= most || known[f.number] != "" {
			log.Fatalf("%s: number %d", m, f.number)
		}
		known[f.number] = f.wireTypes()
	}
	payloads := map[byte][]byte{0: {0}, 1: make([]byte, 8), 2: {0}, 5: make([]byte, 4)}
	for number := 1; number < most; number++ {
		takes := ""
		for _, wire := range []byte{0, 1, 2, 5} {
			var bytes []byte
			for tag := number<<3 | int(wire); ; tag >>= 7 {
				if tag < 0x80 {
					bytes = append(bytes, byte(tag))
					break
				}
				bytes = append(bytes, byte(tag)|0x80)
			}
			bytes = append(bytes, payloads[wire]...)
			err := reflect.New(m).Interface().(unmarshaler).Unmarshal(bytes)
			if err == nil || !strings.Contains(err.Error(), "wrong wireType") {
				takes += string('0' + wire)
			}
		}
		want, is := known[number]
		if !is {
			want = "0125"
		}
		if takes != want {
			log.Fatalf("%s: field %d takes %q, not %q", m, number, takes, want)
		}
	}
}

var stable = regexp.MustCompile(`/v[0-9]+\.`)

// The type's name, with the last two parts of its path.
func name(t reflect.Type) string {
	parts := strings.Split(t.PkgPath(), "/")
	return strings.Join(parts[max(0, len(parts)-2):], "/") + "." + t.Name()
}

// Messages with the same fields are one. Two are, if no way through both finds a difference: so
// all are taken for one, and told apart until nothing new is found.
func (t *table) classes() map[reflect.Type]int {
	class, count := map[reflect.Type]int{}, 1
	for {
		next, bySign := map[reflect.Type]int{}, map[string]int{}
		for _, m := range t.order {
			sign := t.line(m, class)
			if _, known := bySign[sign]; !known {
				bySign[sign] = len(bySign)
			}
			next[m] = bySign[sign]
		}
		class = next
		if len(bySign) == count {
			return class
		}
		count = len(bySign)
	}
}

func (t *table) line(m reflect.Type, class map[reflect.Type]int) string {
	var line strings.Builder
	for _, f := range t.fields[m] {
		fmt.Fprintf(&line, " %d%s%s", f.number, f.flags, f.code)
		if f.message != nil {
			fmt.Fprint(&line, class[f.message])
		}
		fmt.Fprint(&line, ":", f.name)
	}
	return line.String()
}

func writeTable(out io.Writer, all []kind) {
	t := &table{fields: map[reflect.Type][]field{}}
	for _, k := range all {
		t.message(k.t)
		// Those stand first in every object, and are not sent with it.
		t.members(k.t, map[string]bool{"kind": true, "apiVersion": true})
	}
	// By name, those of stable versions first: they give a class its name.
	sort.Slice(t.order, func(i, j int) bool {
		a, b := name(t.order[i]), name(t.order[j])
		if stable.MatchString(a) != stable.MatchString(b) {
			return stable.MatchString(a)
		}
		return a < b
	})
	class := t.classes()
	fmt.Fprint(out, legend)
	written := 0
	for _, m := range t.order {
		if class[m] == written {
			fmt.Fprintf(out, "%s%s\n", name(m), t.line(m, class))
			written++
		}
	}
	log.Printf("%d kinds, %d types, %d messages", len(all), len(t.order), written)
	for i, k := range all {
		if i == 0 || all[i-1].GroupVersion() != k.GroupVersion() {
			if i > 0 {
				fmt.Fprintln(out)
			}
			fmt.Fprintf(out, "%s=", k.GroupVersion())
		}
		fmt.Fprintf(out, " %s:%d", k.Kind, class[k.t])
	}
	fmt.Fprintln(out)
}
