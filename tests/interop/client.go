// Go's net/http client against examples/h2_server: HTTP/2, in cleartext with prior knowledge or over TLS, or HTTP/1.1.
// Arguments: [--http1] http://HOST:PORT or https://HOST:PORT.
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"
)

const tenMiB = 10 << 20

var base = os.Args[len(os.Args)-1]
var version = "HTTP/2.0"

func client() *http.Client {
	transport := &http.Transport{Protocols: new(http.Protocols), ExpectContinueTimeout: 40 * time.Second}
	if os.Args[1] == "--http1" {
		version = "HTTP/1.1"
		transport.Protocols.SetHTTP1(true)
	} else {
		transport.Protocols.SetUnencryptedHTTP2(true)
		transport.Protocols.SetHTTP2(true)
	}
	return &http.Client{Transport: transport, Timeout: 40 * time.Second}
}

var shared = client()

func check(name string, act func() error) {
	if err := act(); err != nil {
		fmt.Printf("failed %s: %v\n", name, err)
	} else {
		fmt.Println("ok", name)
	}
}

func pattern(length int) []byte {
	bytes := make([]byte, length)
	for at := range bytes {
		bytes[at] = byte(at % 251)
	}
	return bytes
}

func same(found, wanted any) error {
	if f, w := fmt.Sprint(found), fmt.Sprint(wanted); f != w {
		return fmt.Errorf("%.200s instead of %.200s", f, w)
	}
	return nil
}

// Sends one request and gives the response with its whole content.
func ask(method, path string, body io.Reader, change ...func(*http.Request)) (*http.Response, []byte, error) {
	request, err := http.NewRequest(method, base+path, body)
	if err != nil {
		return nil, nil, err
	}
	for _, change := range change {
		change(request)
	}
	response, err := shared.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err == nil {
		err = same(fmt.Sprint(response.Proto, " ", response.StatusCode), version+" 200")
	}
	return response, content, err
}

func get() error {
	_, content, err := ask("GET", "/", nil)
	if err != nil {
		return err
	}
	return same(string(content), "Hello, World!")
}

func echo(sent []byte) error {
	_, content, err := ask("POST", "/echo", bytes.NewReader(sent))
	if err == nil && !bytes.Equal(content, sent) {
		return fmt.Errorf("%d bytes came back, not the %d that were sent", len(content), len(sent))
	}
	return err
}

func download() error {
	response, content, err := ask("GET", fmt.Sprintf("/bytes?n=%d", tenMiB), nil)
	if err != nil {
		return err
	}
	return same(fmt.Sprint(response.ContentLength, " ", len(content)), fmt.Sprint(tenMiB, " ", tenMiB))
}

func head() error {
	response, content, err := ask("HEAD", "/", nil)
	if err != nil {
		return err
	}
	return same(fmt.Sprint(response.ContentLength, " ", len(content)), "13 0")
}

func trailers() error {
	response, content, err := ask("POST", "/echo", strings.NewReader("words"), func(request *http.Request) {
		request.ContentLength = -1
		request.Trailer = http.Header{"X-Sum": {"1", "2"}}
	})
	if err != nil {
		return err
	}
	return same(fmt.Sprint(string(content), response.Trailer), "words"+fmt.Sprint(http.Header{"X-Sum": {"1", "2"}}))
}

// The content follows only after 100 (Continue), for which Go waits a minute.
func expectContinue() error {
	seen := false
	trace := &httptrace.ClientTrace{Got100Continue: func() { seen = true }}
	started := time.Now()
	_, content, err := ask("POST", "/echo", strings.NewReader("words"), func(request *http.Request) {
		*request = *request.WithContext(httptrace.WithClientTrace(context.Background(), trace))
		request.Header.Set("Expect", "100-continue")
	})
	if err != nil {
		return err
	}
	return same(fmt.Sprint(seen, string(content), time.Since(started) < 30*time.Second), "truewordstrue")
}

func earlyHints() error {
	seen := ""
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, fields textproto.MIMEHeader) error {
		seen += fmt.Sprint(code, fields.Get("Link") != "")
		return nil
	}}
	_, _, err := ask("GET", "/early", nil, func(request *http.Request) {
		*request = *request.WithContext(httptrace.WithClientTrace(context.Background(), trace))
	})
	if err != nil {
		return err
	}
	return same(seen, "103 true")
}

func atOnce() error {
	errors := make(chan error, 200)
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() { errors <- get() })
	}
	all.Wait()
	close(errors)
	for err := range errors {
		if err != nil {
			return err
		}
	}
	return nil
}

// The answers arrive while the request is still being sent.
func bothWaysAtOnce() error {
	reader, writer := io.Pipe()
	request, _ := http.NewRequest("POST", base+"/echo", reader)
	response, err := shared.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewReader(response.Body)
	for round := range 100 {
		fmt.Fprintf(writer, "line %d\n", round)
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		if err := same(line, fmt.Sprintf("line %d\n", round)); err != nil {
			return err
		}
	}
	writer.Close()
	rest, err := io.ReadAll(lines)
	if err != nil {
		return err
	}
	return same(len(rest), 0)
}

func cancelled() error {
	for range 20 {
		context, cancel := context.WithCancel(context.Background())
		request, _ := http.NewRequestWithContext(context, "GET", base+"/bytes?n=1000000000000", nil)
		response, err := shared.Do(request)
		if err != nil {
			cancel()
			return err
		}
		io.ReadFull(response.Body, make([]byte, 100_000))
		cancel()
		response.Body.Close()
	}
	return get()
}

// The server is told to stop in the middle of a download.
func gracefulClose() error {
	response, err := shared.Get(fmt.Sprintf("%s/bytes?n=%d", base, tenMiB))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	fmt.Println("waiting")
	bufio.NewReader(os.Stdin).ReadString('\n')
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	return same(len(content), tenMiB)
}

func main() {
	fmt.Println("version", runtime.Version())
	check("GET", get)
	check("HEAD", head)
	check("POST echoed", func() error { return echo([]byte("some words")) })
	check("empty POST", func() error { return echo(nil) })
	check("10 MiB down", download)
	check("10 MiB up and back", func() error { return echo(pattern(tenMiB)) })
	check("trailers both ways", trailers)
	check("100 Continue", expectContinue)
	check("103 Early Hints", earlyHints)
	check("200 requests at once", atOnce)
	check("both ways at once", bothWaysAtOnce)
	check("cancelled downloads", cancelled)
	check("graceful close", gracefulClose)
}
