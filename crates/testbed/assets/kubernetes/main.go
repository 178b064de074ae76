// Stands in for a node's kubelet: what the API server asks of one, on this machine itself.
//
//	kubelet ADDRESS CERTIFICATE KEY CLIENTS_AUTHORITY
//
// Commands run in its working folder; the log of the pod NAME is the file NAME.log there.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

const (
	// How long a connection may say nothing.
	idle = 10 * time.Minute
	// How long output may stay open once its process has ended.
	leftovers = 2 * time.Second
	// How long a command on a terminal waits for the terminal's first size.
	sizeWait = 200 * time.Millisecond
	// How often a log that is followed is looked at.
	poll = 20 * time.Millisecond
)

func main() {
	if len(os.Args) != 5 {
		log.Fatal("kubelet ADDRESS CERTIFICATE KEY CLIENTS_AUTHORITY")
	}
	authority, err := os.ReadFile(os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(authority)
	endTogether()
	// It runs what it is told to: only the API server may tell it.
	config := &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	server := &http.Server{Addr: os.Args[1], TLSConfig: config, Handler: routes()}
	log.Fatal(server.ListenAndServeTLS(os.Args[2], os.Args[3]))
}

// endTogether makes SIGTERM end what still runs here, with us: it is all in our process group.
func endTogether() {
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	go func() {
		<-terminate
		if syscall.Getpgrp() == os.Getpid() {
			syscall.Kill(0, syscall.SIGKILL)
		}
		os.Exit(0)
	}()
}

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		options, err := remotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		remotecommand.ServeExec(w, r, node{}, r.PathValue("pod"), "", r.PathValue("container"),
			r.URL.Query()["command"], options, idle, remotecommand.DefaultStreamCreationTimeout,
			remotecommand.SupportedStreamingProtocols)
	})
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		options, err := remotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		remotecommand.ServeAttach(w, r, node{}, r.PathValue("pod"), "", r.PathValue("container"),
			options, idle, remotecommand.DefaultStreamCreationTimeout,
			remotecommand.SupportedStreamingProtocols)
	})
	mux.HandleFunc("/portForward/{namespace}/{pod}", func(w http.ResponseWriter, r *http.Request) {
		options, err := portforward.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		portforward.ServePortForward(w, r, node{}, r.PathValue("pod"), "", options, idle,
			remotecommand.DefaultStreamCreationTimeout, portforward.SupportedProtocols)
	})
	mux.HandleFunc("/containerLogs/{namespace}/{pod}/{container}", logs)
	return mux
}

// logs gives a pod's log; with follow, what is appended to it, too, until the client leaves.
func logs(w http.ResponseWriter, r *http.Request) {
	file, err := os.Open(filepath.Base(r.PathValue("pod")) + ".log")
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	defer file.Close()
	first, err := io.ReadAll(file)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if tail, err := strconv.Atoi(r.FormValue("tailLines")); err == nil {
		lines := strings.SplitAfter(string(first), "\n")
		first = []byte(strings.Join(lines[max(0, len(lines)-1-tail):], ""))
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Write(first)
	for r.FormValue("follow") == "true" && r.Context().Err() == nil {
		http.NewResponseController(w).Flush()
		time.Sleep(poll)
		if _, err := io.Copy(w, file); err != nil {
			return
		}
	}
}

// node runs processes of this machine as if they were a pod's.
type node struct{}

func (node) ExecInContainer(_ context.Context, pod, _, _ string, command []string, in io.Reader,
	out, err io.WriteCloser, tty bool, sizes <-chan remotecommand.TerminalSize, _ time.Duration) error {
	return run(pod, command, in, out, err, tty, sizes)
}

func (node) AttachContainer(_ context.Context, pod, _, _ string, in io.Reader,
	out, err io.WriteCloser, tty bool, sizes <-chan remotecommand.TerminalSize) error {
	return run(pod, []string{"sh", "-c", "echo attached; exec cat"}, in, out, err, tty, sizes)
}

func (node) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer stream.Close()
	to, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	defer to.Close()
	go func() {
		io.Copy(to, stream)
		to.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, to)
	return err
}

func run(pod string, command []string, in io.Reader, out, errs io.WriteCloser, tty bool,
	sizes <-chan remotecommand.TerminalSize) error {
	if len(command) == 0 {
		return fmt.Errorf("no command")
	}
	home, err := os.Getwd()
	if err != nil {
		return err
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "HOSTNAME=" + pod, "LC_ALL=C.UTF-8"}
	cmd.WaitDelay = leftovers
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if tty {
		return verdict(runOnTerminal(cmd, in, out, sizes))
	}
	cmd.Stdout, cmd.Stderr = out, errs
	if in != nil {
		// A pipe of ours: a client that keeps its end open must not keep the command's end away.
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		go func() {
			io.Copy(stdin, in)
			stdin.Close()
		}()
	}
	return verdict(cmd.Run())
}

func runOnTerminal(cmd *exec.Cmd, in io.Reader, out io.Writer,
	sizes <-chan remotecommand.TerminalSize) error {
	ours, theirs, err := terminal()
	if err != nil {
		return err
	}
	defer ours.Close()
	cmd.Env = append(cmd.Env, "TERM=xterm")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	// A session of its own; those on the terminal are told when its leader ends.
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty = true, true
	// The first size is there before the command looks.
	first := make(chan struct{})
	go func() {
		for size := range sizes {
			unix.IoctlSetWinsize(int(ours.Fd()), unix.TIOCSWINSZ,
				&unix.Winsize{Row: size.Height, Col: size.Width})
			select {
			case <-first:
			default:
				close(first)
			}
		}
	}()
	select {
	case <-first:
	case <-time.After(sizeWait):
	}
	if err = cmd.Start(); err != nil {
		theirs.Close()
		return err
	}
	if in != nil {
		go io.Copy(ours, in)
	}
	printed := make(chan struct{})
	go func() {
		io.Copy(out, ours)
		close(printed)
	}()
	err = cmd.Wait()
	theirs.Close()
	select {
	case <-printed:
	case <-time.After(leftovers):
	}
	return err
}

// terminal gives the two ends of a new pseudoterminal.
func terminal() (ours, theirs *os.File, err error) {
	ours, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(ours.Fd())
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
		var number int
		if number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); err == nil {
			theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
		}
	}
	if err != nil {
		ours.Close()
	}
	return ours, theirs, err
}

// verdict makes a command's exit code one that goes to the client.
func verdict(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code := exit.ExitCode()
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			code = 128 + int(status.Signal())
		}
		return utilexec.CodeExitError{Err: err, Code: code}
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	return err
}
