// The official Go client, as controllers use it: creates two objects, then tells, one JSON object a
// line, what an informer on the ConfigMaps of the namespace default is told.
//
//	informer SECONDS json|protobuf|cbor WATCH_SECONDS
//
// It ends when a ConfigMap named end is added, or after so many seconds. A watch lasts
// WATCH_SECONDS; 0 leaves that to the client, which takes five to ten minutes. The configuration is
// that of KUBECONFIG.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const namespace = "default"

// line is what happened.
type line struct {
	Event           string            `json:"event"`
	Name            string            `json:"name"`
	ResourceVersion string            `json:"resourceVersion"`
	Data            map[string]string `json:"data"`
}

var out sync.Mutex

func tell(event string, object metav1.Object) {
	said := line{Event: event}
	if object != nil {
		said.Name, said.ResourceVersion = object.GetName(), object.GetResourceVersion()
	}
	if configMap, ok := object.(*corev1.ConfigMap); ok {
		said.Data = configMap.Data
	}
	text, err := json.Marshal(said)
	if err != nil {
		log.Fatal(err)
	}
	out.Lock()
	defer out.Unlock()
	os.Stdout.Write(append(text, '\n'))
}

func number(text string) int64 {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	return number
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("informer SECONDS json|protobuf|cbor WATCH_SECONDS")
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		log.Fatal(err)
	}
	switch os.Args[2] {
	case "protobuf":
		// As kube-controller-manager and controller-runtime set it.
		config.ContentType = "application/vnd.kubernetes.protobuf"
		config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	case "cbor":
		// As client-go sets it where ClientsPreferCBOR is on.
		config.ContentType = "application/cbor"
		config.AcceptContentTypes = "application/cbor;q=1,application/json;q=0.9"
	default:
		config.ContentType = "application/json"
	}
	seconds, watchSeconds := number(os.Args[1]), number(os.Args[3])
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds)*time.Second)
	defer cancel()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	create(ctx, client, "go-"+os.Args[2])

	factory := informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) {
			// Only a watch has a time, which the client has chosen by now.
			if watchSeconds > 0 && options.TimeoutSeconds != nil {
				options.TimeoutSeconds = &watchSeconds
			}
		}))
	informer := factory.Core().V1().ConfigMaps().Informer()
	if err := informer.SetWatchErrorHandlerWithContext(watchFailed); err != nil {
		log.Fatal(err)
	}
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) {
			tell("add", object.(metav1.Object))
			if object.(metav1.Object).GetName() == "end" {
				cancel()
			}
		},
		UpdateFunc: func(_, object any) { tell("update", object.(metav1.Object)) },
		DeleteFunc: func(object any) {
			if missed, ok := object.(cache.DeletedFinalStateUnknown); ok {
				tell("missed", missed.Obj.(metav1.Object))
				return
			}
			tell("delete", object.(metav1.Object))
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		log.Fatal("the cache was not filled")
	}
	tell("synced", nil)
	<-ctx.Done()
	factory.Shutdown()
}

// watchFailed is told what ends a watch other than its own time, a relist among it.
func watchFailed(ctx context.Context, reflector *cache.Reflector, err error) {
	if ctx.Err() == nil {
		log.Print(err)
		tell("failed", nil)
	}
	cache.DefaultWatchErrorHandler(ctx, reflector, err)
}

// create makes a ConfigMap and a pod of this name, and tells what they became.
func create(ctx context.Context, client kubernetes.Interface, name string) {
	meta := metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"by": "go"}}
	configMap, err := client.CoreV1().ConfigMaps(namespace).Create(ctx,
		&corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"said": "Grüße, by " + name}},
		metav1.CreateOptions{})
	if err != nil {
		log.Fatal(err)
	}
	tell("created", configMap)
	pod, err := client.CoreV1().Pods(namespace).Create(ctx, &corev1.Pod{
		ObjectMeta: meta,
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "none"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		log.Fatal(err)
	}
	tell("created", pod)
}
