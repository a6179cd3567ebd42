// The controller of a pump or a vending machine that sells through Surtidor: one sale, from filling to the receipt.
//
//	go build controller.go && ./controller /run/surtidor/control.sock PUMP1 18525.50 "SUPER 23.45 L"
//
// It is the same program for an unattended, an attended and an intent point of sale. A sale that was cut off is finished
// first; without an amount nothing else is done. Ctrl-C is the machine's cancel button.
// Exit codes: 0 delivered, 1 refused by Surtidor, 2 usage, 3 not reached, 4 not paid, 5 paid and not delivered.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"
)

const filling, releasing = time.Second, time.Second // Here stands the machine: its counter, its valve, its spiral.

var paid = map[string]bool{"order_paid": true, // What ends an order.
	"order_rejected": false, "order_expired": false, "order_canceled": false, "order_replaced": false}
var news = map[string]string{"payment_rejected": "the customer may try again, unless it ends",
	"late_payment": "nothing is released for it"}

var client, button = http.Client{Timeout: 30 * time.Second}, make(chan os.Signal, 1)
var folder, file, pos = must(os.Open(".")), "", ""
var sale = struct { // What survives a power cut: how far it has come, and the last event heard; 0 is the oldest.
	Phase, Reference, Order string
	After                   uint64
}{Phase: "idle"}

func end(code int, words ...any) {
	fmt.Println(words...)
	os.Exit(code)
}

func must[T any](value T, err error) T {
	if err != nil {
		end(1, err)
	}
	return value
}

// ask makes a call until it is answered. All calls here may be made again: Surtidor does nothing twice. What is refused, and
// not with a status that is fine, ends the program.
func ask(method, path, body, fine string) (answer []byte) {
	for {
		reply, err := client.Do(must(http.NewRequest(method, "http://surtidor/v1/"+path, strings.NewReader(body))))
		if err == nil {
			answer, err = io.ReadAll(reply.Body)
			reply.Body.Close()
		}
		if err == nil && (reply.StatusCode < 400 || strings.Contains(fine, fmt.Sprint(reply.StatusCode))) {
			return answer
		}
		if err == nil && reply.StatusCode != http.StatusServiceUnavailable { // That is `busy` or the like: it passes.
			// Refused for good is forgotten. But a full disk may take it yet, and who waits for money goes on waiting.
			if reply.StatusCode < 500 && sale.Phase != "asked" {
				keep("idle")
			}
			end(1, "refused:", string(answer)) // With a code for programs, and a detail for people.
		}
		fmt.Println("asked again in a second:", err, string(answer))
		if canceledWithin(time.Second) {
			end(3, "left as it is: start me again to finish")
		}
	}
}

// canceledWithin tells whether the button was pressed. It waits until we look, so it cuts no step in two.
func canceledWithin(wait time.Duration) bool {
	select {
	case <-button:
		return true
	case <-time.After(wait):
		return false
	}
}

// keep puts the sale on the disk, whole or not at all, before anything is done that depends on it.
func keep(phase string) {
	sale.Phase = phase
	next := must(os.OpenFile(file+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_SYNC, 0o600))
	defer next.Close()
	must(next.Write(must(json.Marshal(sale))))
	must(0, os.Rename(next.Name(), file))
	must(0, folder.Sync())
}

func begin(amount, title string) {
	ask("PUT", "pos/"+pos+"/state", `{"state":"in_process","message":"Fuel is still flowing.","lease_seconds":30}`, "")
	fmt.Println("filling")
	if canceledWithin(filling) {
		ask("PUT", "pos/"+pos+"/state", `{"state":"unavailable"}`, "")
		os.Exit(4)
	}
	random := make([]byte, 16) // A reference is never used again, and clocks may begin anew after a power cut.
	must(rand.Read(random))
	sale.Reference = fmt.Sprintf("%x", random)
	order := map[string]string{"external_reference": sale.Reference, "amount": amount, "title": title}
	sale.Order = string(must(json.Marshal(order)))
	keep("begun")
}

// wasPaid listens until the order ends. Whether a cancel came in time is heard here as well.
func wasPaid() bool {
	for turn := 0; ; turn++ {
		if turn%5 == 0 { // Every ten seconds, or sooner: the controller is alive.
			ask("PUT", "pos/"+pos+"/lease", `{"seconds":30}`, "")
		}
		if canceledWithin(time.Millisecond) {
			fmt.Println("cancel", string(ask("DELETE", "pos/"+pos+"/order", "", "404 409")))
		}
		var page struct { // Nothing at all if our place was trimmed: then from the oldest on.
			Next   uint64
			Events []struct {
				Seq                              uint64
				Type, Reason, External_reference string
			}
		}
		answer := ask("GET", fmt.Sprintf("events?pos=%s&after=%d&wait=2", pos, sale.After), "", "410")
		must(0, json.Unmarshal(answer, &page))
		for _, event := range page.Events {
			ours := event.External_reference == sale.Reference
			if ours || event.Type == "late_payment" {
				fmt.Println(event.Type, event.Reason, news[event.Type])
			}
			if paid, ends := paid[event.Type]; ours && ends {
				sale.After = event.Seq
				return paid
			}
		}
		sale.After = page.Next
	}
}

// finish takes the sale up where it stands, and gives the exit code.
func finish() int {
	delivery, code := `{"result":"dispensed"}`, 0
	if sale.Phase == "begun" {
		fmt.Println("order", string(ask("PUT", "pos/"+pos+"/order", sale.Order, "")))
		keep("asked")
	}
	if sale.Phase == "asked" {
		if !wasPaid() {
			keep("idle")
			return 4
		}
		keep("releasing") // From here on it is never released again.
		fmt.Println("releasing", sale.Reference)
		time.Sleep(releasing)
		keep("released")
	} else if sale.Phase == "releasing" { // We were cut off. A sensor would know what came out; we do not.
		delivery, code = `{"result":"failed","reason":"The controller was cut off."}`, 5
	}
	ask("PUT", "orders/"+sale.Reference+"/delivery", delivery, "")
	fmt.Print(string(ask("GET", "orders/"+sale.Reference+"/receipt?width=32", "", "")))
	keep("idle")
	return code
}

func main() {
	if len(os.Args) != 3 && len(os.Args) != 5 {
		end(2, "usage: controller SOCKET POS [AMOUNT TITLE]")
	}
	pos, file = os.Args[2], os.Args[2]+".state"
	if kept, err := os.ReadFile(file); !os.IsNotExist(err) {
		must(0, json.Unmarshal(must(kept, err), &sale))
	}
	client.Transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", os.Args[1])
	}, DisableKeepAlives: true}
	signal.Notify(button, os.Interrupt)
	code := 0
	if sale.Phase != "idle" {
		code = finish()
	}
	if len(os.Args) == 5 {
		begin(os.Args[3], os.Args[4])
		code = finish()
	}
	os.Exit(code)
}
