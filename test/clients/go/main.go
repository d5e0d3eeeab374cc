// Command worker consumes with amqp091-go, which does not reconnect. The contract is told in ../worker.ts.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

type output struct {
	Consumer string `json:"consumer"`
	Seq      int    `json:"seq"`
	Index    int    `json:"index"`
	Instance string `json:"instance"`
}

// memory is all the worker remembers; its fields are what GET /state tells.
type memory struct {
	Consumer    string `json:"consumer"`
	Instance    string `json:"instance"`
	StartedAt   string `json:"startedAt"`
	Count       int    `json:"count"`
	Hash        string `json:"hash"`
	Last        *int   `json:"last"`
	List        []int  `json:"list"`
	Redelivered int    `json:"redelivered"`
	Received    []int  `json:"received"`
	Reconnects  int    `json:"reconnects"`
	Ticks       int    `json:"ticks"`

	mutex sync.Mutex
	hash  []byte
}

func newMemory() *memory {
	name, err := os.Hostname()
	must(err)
	id := make([]byte, 16)
	_, err = rand.Read(id)
	must(err)
	zero := make([]byte, sha256.Size)
	return &memory{
		Consumer:  name,
		Instance:  hex.EncodeToString(id),
		StartedAt: time.Now().UTC().Format(time.RFC3339Nano),
		Hash:      hex.EncodeToString(zero),
		List:      []int{},
		Received:  []int{},
		hash:      zero,
	}
}

func (m *memory) take(seq int) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.Received = append(m.Received, seq)
}

func (m *memory) apply(seq int, body []byte, redelivered bool) output {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	digest := sha256.Sum256(append(m.hash, body...))
	m.hash = digest[:]
	m.Hash = hex.EncodeToString(m.hash)
	m.List = append(m.List, seq)
	m.Count = len(m.List)
	m.Last = &seq
	if redelivered {
		m.Redelivered++
	}
	return output{m.Consumer, seq, m.Count, m.Instance}
}

// ServeHTTP answers every path with all there is.
func (m *memory) ServeHTTP(response http.ResponseWriter, _ *http.Request) {
	m.mutex.Lock()
	body, err := json.Marshal(m)
	m.mutex.Unlock()
	must(err)
	response.Header().Set("content-type", "application/json")
	_, _ = response.Write(body)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func setting(name string, otherwise int) int {
	value, found := os.LookupEnv(name)
	if !found {
		return otherwise
	}
	number, err := strconv.Atoi(value)
	must(err)
	return number
}

func main() {
	topic := os.Getenv("TOPIC")
	pause := time.Duration(setting("WORK_MS", 5)) * time.Millisecond
	remembered := newMemory()

	connection, err := amqp.Dial(os.Getenv("AMQP_URL"))
	must(err)
	channel, err := connection.Channel()
	must(err)
	must(channel.Confirm(false))
	must(channel.Qos(setting("PREFETCH", 20), 0, false))
	deliveries, err := channel.Consume(topic+".in", "", false, false, false, false, nil)
	must(err)

	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		<-terminated
		os.Exit(0)
	}()
	// Not before it consumes: an answer says that it is ready.
	go func() { must(http.ListenAndServe(fmt.Sprintf(":%d", setting("PORT", 8080)), remembered)) }()
	log.Print("consuming")

	for delivery := range deliveries {
		var input struct{ Seq int }
		must(json.Unmarshal(delivery.Body, &input))
		remembered.take(input.Seq)
		time.Sleep(pause)
		body, err := json.Marshal(remembered.apply(input.Seq, delivery.Body, delivery.Redelivered))
		must(err)
		message := amqp.Publishing{DeliveryMode: amqp.Persistent, ContentType: "application/json", Body: body}
		publish(channel, topic+".out", message)
		must(delivery.Ack(false))
	}
	log.Fatal("connection closed")
}

// publish returns once the broker has it; what it refuses is published again.
func publish(channel *amqp.Channel, exchange string, message amqp.Publishing) {
	ctx := context.Background()
	for acked := false; !acked; {
		confirm, err := channel.PublishWithDeferredConfirmWithContext(ctx, exchange, "", false, false, message)
		must(err)
		acked, err = confirm.WaitContext(ctx)
		must(err)
	}
}
