package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
	"time"
)

// client is one keep-alive connection to a server. It is as cheap as HTTP/1.1
// allows, because it runs on the cores that it measures.
type client struct {
	conn    io.ReadWriteCloser
	reader  *bufio.Reader
	host    string
	token   string // sent as bearer when it is not empty
	request []byte
	answer  bytes.Buffer
}

func dial(addr, token string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, reader: bufio.NewReader(conn), host: addr, token: token}, nil
}

// do sends one request and waits for the answer. key is the Idempotency-Key,
// empty for none. The body that it returns is valid until the next call.
func (c *client) do(method, path, key string, body []byte) (status int, answer []byte, err error) {
	if err = c.send(method, path, key, body); err != nil {
		return 0, nil, err
	}
	return c.receive()
}

func (c *client) send(method, path, key string, body []byte) error {
	b := append(c.request[:0], method...)
	b = append(append(append(b, ' '), path...), " HTTP/1.1\r\nHost: "...)
	b = append(b, c.host...)
	if c.token != "" {
		b = append(append(b, "\r\nAuthorization: Bearer "...), c.token...)
	}
	if key != "" {
		b = append(append(b, "\r\nIdempotency-Key: "...), key...)
	}
	if body != nil {
		b = append(b, "\r\nContent-Type: application/json\r\nContent-Length: "...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
	}
	b = append(append(b, "\r\n\r\n"...), body...)
	c.request = b
	_, err := c.conn.Write(b)
	return err
}

// receive reads a response. It knows of its headers only those that say how
// long the body is.
func (c *client) receive() (status int, body []byte, err error) {
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return 0, nil, err
	}
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, nil, fmt.Errorf("not a response: %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, nil, err
	}
	length, chunked := 0, false
	for {
		if line, err = c.reader.ReadSlice('\n'); err != nil {
			return 0, nil, err
		}
		if len(line) <= 2 {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, nil, err
			}
		}
		chunked = chunked || bytes.HasPrefix(line, []byte("Transfer-Encoding: chunked"))
	}
	c.answer.Reset()
	if chunked {
		if _, err = c.answer.ReadFrom(httputil.NewChunkedReader(c.reader)); err == nil {
			_, err = c.reader.Discard(len("\r\n"))
		}
		return status, c.answer.Bytes(), err
	}
	_, err = io.CopyN(&c.answer, c.reader, int64(length))
	return status, c.answer.Bytes(), err
}

// call sends one request with a JSON body and decodes a 2xx answer into out;
// nil bodies are left out. Another status is an error that holds the answer.
func (c *client) call(method, path, key string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	status, answer, err := c.do(method, path, key, body)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("answered %d: %s", status, bytes.TrimSpace(answer))
	}
	if err == nil && out != nil {
		err = json.Unmarshal(answer, out)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

func (c *client) close() { _ = c.conn.Close() }
