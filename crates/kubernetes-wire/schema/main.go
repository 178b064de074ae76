// Writes what kubernetes-wire must know of Kubernetes' types to read them as protobuf.
//
//	go run . table > ../src/protobuf/schema.txt
//	go run . cases 1 0 > ../tests/protobuf.bin
//
// `table` walks every type that client-go's scheme knows, with those of the extensions' own schemes,
// and stops where it meets something that the Rust side has no word for.
// `cases ROUNDS SEED` makes up objects of each kind and writes them as protobuf and as JSON:
// what Kubernetes' own code says is what the tests compare with. `mutants ROUNDS SEED` changes such
// objects after they were sent, and writes as JSON what Kubernetes' own code makes of them.
package main

import (
	"bufio"
	"log"
	"os"
	"reflect"
	"sort"
	"strconv"

	admission "k8s.io/api/admission/v1"
	admissionbeta "k8s.io/api/admission/v1beta1"
	discovery "k8s.io/api/apidiscovery/v2"
	discoverybeta "k8s.io/api/apidiscovery/v2beta1"
	imagepolicy "k8s.io/api/imagepolicy/v1alpha1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsbeta "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	metabeta "k8s.io/apimachinery/pkg/apis/meta/v1beta1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	apiregistrationbeta "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1beta1"
)

func main() {
	log.SetFlags(0)
	out := bufio.NewWriter(os.Stdout)
	switch {
	case len(os.Args) == 2 && os.Args[1] == "table":
		all, _ := kinds()
		writeTable(out, all)
	case len(os.Args) == 4 && os.Args[1] == "cases":
		writeCases(out, number(os.Args[2]), number(os.Args[3]))
	case len(os.Args) == 4 && os.Args[1] == "mutants":
		writeMutants(out, number(os.Args[2]), number(os.Args[3]))
	default:
		log.Fatal("table, or cases ROUNDS SEED, or mutants ROUNDS SEED")
	}
	if err := out.Flush(); err != nil {
		log.Fatal(err)
	}
}

func number(text string) uint64 {
	it, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		log.Fatal(err)
	}
	return it
}

// What may stand in an object's apiVersion and kind.
type kind struct {
	schema.GroupVersionKind
	t reflect.Type
}

// A type that can be sent as protobuf.
type unmarshaler interface {
	Unmarshal([]byte) error
}

var unmarshalerType = reflect.TypeFor[unmarshaler]()

// Whether it says in JSON what it is.
func isObject(t reflect.Type) bool {
	f, found := t.FieldByName("TypeMeta")
	return found && f.Type == typeMeta
}

// Every kind that can be sent as protobuf, in a fixed order, and the scheme that knows them.
func kinds() ([]kind, *runtime.Scheme) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		scheme.AddToScheme,
		apiextensions.AddToScheme,
		apiextensionsbeta.AddToScheme,
		apiregistration.AddToScheme,
		apiregistrationbeta.AddToScheme,
		admission.AddToScheme,
		admissionbeta.AddToScheme,
		discovery.AddToScheme,
		discoverybeta.AddToScheme,
		imagepolicy.AddToScheme,
		meta.AddMetaToScheme,
		metabeta.AddMetaToScheme,
	} {
		if err := add(s); err != nil {
			log.Fatal(err)
		}
	}
	// The scheme knows options in each group; the API server and clients without types name this
	// one.
	meta.AddToGroupVersion(s, meta.SchemeGroupVersion)
	var all []kind
	for gvk, t := range s.AllKnownTypes() {
		switch {
		case gvk.Version == runtime.APIVersionInternal:
		case !isObject(t):
			// An event of a watch: no request has one.
		case !reflect.PointerTo(t).Implements(unmarshalerType):
			log.Printf("no protobuf: %s %s", gvk.GroupVersion(), gvk.Kind)
		default:
			all = append(all, kind{gvk, t})
		}
	}
	sort.Slice(all, func(i, j int) bool {
		a, b := all[i], all[j]
		if a.GroupVersion() != b.GroupVersion() {
			return a.GroupVersion().String() < b.GroupVersion().String()
		}
		return a.Kind < b.Kind
	})
	return all, s
}
