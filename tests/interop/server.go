// Go's net/http server for wakering's client: in cleartext with prior knowledge; with the argument http1 in HTTP/1.1 alone, and
// with a certificate and its key behind that over TLS. A line on standard input stops it.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
)

func hello(w http.ResponseWriter, _ *http.Request) {
	io.WriteString(w, "Hello, World!")
}

// Content and trailers, as they come. Go sends 100 (Continue) when content is read before the head is written, but
// a client that sends without an end in sight may wait for the head.
func echo(w http.ResponseWriter, r *http.Request) {
	// In HTTP/1.1 only when asked for: otherwise Go gives the rest of the request up as it answers.
	http.NewResponseController(w).EnableFullDuplex()
	if r.ContentLength < 0 {
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
	}
	buffer := make([]byte, 64<<10)
	for {
		n, err := r.Body.Read(buffer)
		w.Write(buffer[:n])
		w.(http.Flusher).Flush()
		if err != nil {
			break
		}
	}
	for name, values := range r.Trailer {
		w.Header()[http.TrailerPrefix+name] = values
	}
}

func bytes(w http.ResponseWriter, r *http.Request) {
	left, _ := strconv.Atoi(r.URL.Query().Get("n"))
	block := make([]byte, 64<<10)
	for left > 0 {
		n, err := w.Write(block[:min(left, len(block))])
		if err != nil {
			return
		}
		left -= n
	}
}

func early(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Link", "</style.css>; rel=preload; as=style")
	w.WriteHeader(http.StatusEarlyHints)
	io.WriteString(w, "<link rel=stylesheet href=style.css>")
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	routes := http.NewServeMux()
	routes.HandleFunc("/{$}", hello)
	routes.HandleFunc("/echo", echo)
	routes.HandleFunc("/bytes", bytes)
	routes.HandleFunc("/early", early)
	server := &http.Server{Handler: routes, Protocols: new(http.Protocols)}
	older := len(os.Args) > 1
	server.Protocols.SetHTTP1(older)
	server.Protocols.SetUnencryptedHTTP2(!older)
	stopped := make(chan error)
	go func() {
		bufio.NewReader(os.Stdin).ReadString('\n')
		stopped <- server.Shutdown(context.Background())
	}()
	fmt.Println("version", runtime.Version())
	fmt.Println("listening on", listener.Addr())
	if len(os.Args) > 3 {
		server.ServeTLS(listener, os.Args[2], os.Args[3])
	} else {
		server.Serve(listener)
	}
	if err := <-stopped; err != nil {
		panic(err)
	}
}
