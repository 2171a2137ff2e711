package flow

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sallyport-dev/sallyport/canon"
	"github.com/sallyport-dev/sallyport/catalog"
	"github.com/sallyport-dev/sallyport/lexicon"
)

// proposedTools reads tool lists (names, descriptions and schemas) and what
// the catalog proposes for them: nobody has curated a line.
func proposedTools(t *testing.T) map[string][]*catalog.Facts {
	t.Helper()
	out := map[string][]*catalog.Facts{}
	b, err := os.ReadFile("testdata/goals/tools.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Suites map[string][]struct {
			Name, Description string
			Parameters        json.RawMessage
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	for suite, tools := range file.Suites {
		var defs []canon.Value
		for _, x := range tools {
			j, err := json.Marshal(map[string]any{"name": x.Name, "description": x.Description, "inputSchema": x.Parameters})
			if err != nil {
				t.Fatal(err)
			}
			v, err := canon.Parse(j, canon.FileLimits)
			if err != nil {
				t.Fatal(err)
			}
			defs = append(defs, v)
		}
		for _, p := range catalog.Propose(suite, defs) {
			f := p.Facts
			f.Server, f.Tool = suite, p.Tool
			out[suite] = append(out[suite], &f)
		}
	}
	// Servers of other kinds, by name alone.
	for server, names := range map[string]string{
		"tracker": "create_issue update_issue close_issue add_comment list_issues assign_issue delete_issue create_pull_request merge_pull_request",
		"crm":     "create_contact update_contact delete_contact search_contacts create_deal update_deal add_note send_email",
		"home":    "turn_on_light turn_off_light lock_door unlock_door set_thermostat get_device_state play_music",
		"todo":    "create_task update_task delete_task complete_task list_tasks set_reminder",
		"airline": "book_reservation cancel_reservation get_reservation_details update_reservation_flights update_reservation_baggages update_reservation_passengers send_certificate search_direct_flight",
		"retail":  "cancel_pending_order exchange_delivered_order_items return_delivered_order_items modify_pending_order_address modify_user_address get_order_details",
		"cluster": "list_pods delete_pod scale_deployment restart_deployment apply_manifest create_namespace delete_namespace",
	} {
		var defs []canon.Value
		for name := range strings.FieldsSeq(names) {
			v, err := canon.Parse([]byte(`{"name":"`+name+`","inputSchema":{"type":"object"}}`), canon.FileLimits)
			if err != nil {
				t.Fatal(err)
			}
			defs = append(defs, v)
		}
		for _, p := range catalog.Propose(server, defs) {
			f := p.Facts
			f.Server, f.Tool = server, p.Tool
			out[server] = append(out[server], &f)
		}
	}
	return out
}

func changes(f *catalog.Facts) bool {
	return slices.ContainsFunc(f.Flow.Ops, func(o lexicon.Op) bool { return o != lexicon.Read })
}

// severeTool reports what no request that only reads may let through.
func severeTool(f *catalog.Facts) bool {
	return slices.ContainsFunc(f.Flow.Ops, func(o lexicon.Op) bool {
		return slices.Contains([]lexicon.Op{lexicon.Send, lexicon.Post, lexicon.Delete, lexicon.Grant, lexicon.Revoke, lexicon.Pay, lexicon.Auth, lexicon.Book, lexicon.Exec}, o)
	})
}

// TestMatch says for requests of our own which tools that change something
// fit hard, and that no other does: "server: request => tool tool". A tool
// after "?" may fit or not.
func TestMatch(t *testing.T) {
	servers := proposedTools(t)
	n := 0
	for line := range strings.Lines(matches) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		n++
		server, rest, _ := strings.Cut(line, ": ")
		prompt, want, _ := strings.Cut(rest, " =>")
		tools := servers[server]
		if len(tools) == 0 {
			t.Fatalf("no server %q", server)
		}
		e := Compile(prompt)
		var must, may []string
		for w := range strings.FieldsSeq(want) {
			if x, ok := strings.CutPrefix(w, "?"); ok {
				may = append(may, x)
				continue
			}
			must = append(must, w)
		}
		for _, w := range slices.Concat(must, may) {
			if !slices.ContainsFunc(tools, func(f *catalog.Facts) bool { return f.Tool == w }) {
				t.Errorf("%s has no tool %q", server, w)
			}
		}
		for _, f := range tools {
			if !changes(f) {
				continue
			}
			m := e.Match(f, tools)
			switch {
			case slices.Contains(must, f.Tool) && m.Fit != FitHard:
				t.Errorf("%s: %s\n  %s %v %v fits %v\n  %s", server, prompt, f.Tool, f.Flow.Ops, f.Flow.Nouns, m.Fit, strings.Join(e.Lines(), "\n  "))
			case !slices.Contains(must, f.Tool) && !slices.Contains(may, f.Tool) && m.Fit == FitHard:
				t.Errorf("%s: %s\n  %s %v %v must not fit\n  %s", server, prompt, f.Tool, f.Flow.Ops, f.Flow.Nouns, strings.Join(e.Lines(), "\n  "))
			case want == "" && severeTool(f) && m.Fit != FitNone:
				t.Errorf("%s: %s\n  only reads, and %s fits %v", server, prompt, f.Tool, m.Fit)
			}
		}
	}
	if n < 80 {
		t.Errorf("only %d requests", n)
	}
}

// A request that asks for nothing lets nothing through, on any server.
func TestReadingFitsNothing(t *testing.T) {
	servers := proposedTools(t)
	for line := range strings.Lines(prompts) {
		line = strings.TrimSpace(line)
		prompt, ok := strings.CutSuffix(line, " =>")
		if !ok {
			continue
		}
		e := Compile(prompt)
		for _, tools := range servers {
			for _, f := range tools {
				if severeTool(f) {
					if m := e.Match(f, tools); m.Fit != FitNone {
						t.Errorf("%s: %s fits %v", prompt, f.Tool, m.Fit)
					}
				}
			}
		}
	}
}

func TestAToolOfWhichNothingIsKnownFitsNothing(t *testing.T) {
	if m := Compile("send an email to Ann").Match(&catalog.Facts{Tool: "send_email"}, nil); m.Fit != FitNone {
		t.Errorf("%+v", m)
	}
}

const matches = `
workspace: Send Ann an email with the minutes => send_email
workspace: Forward the mail from Kestrel to billing@example.org => send_email
workspace: Delete the newsletter from Monday => delete_email
workspace: Create a meeting with Lee tomorrow at 10 => create_calendar_event
workspace: Move the standup to 9:30 => reschedule_calendar_event
workspace: Cancel my appointment on Friday => cancel_calendar_event
workspace: Add Petra to the review meeting on Monday => add_calendar_event_participants
workspace: Write the totals into a new file totals.txt => create_file ?append_to_file
workspace: Append the totals to report.csv => append_to_file
workspace: Share budget.xlsx with kim@example.org => share_file
workspace: Delete the file old.docx => delete_file
workspace: Reply to Tom and then delete his mail => send_email delete_email
workspace: What is on my calendar tomorrow? =>
workspace: Summarize the unread emails =>
workspace: Which files are shared with Kim? =>
workspace: Find the file with the plan and tell me what it says =>
workspace: Who was invited to the review? =>
workspace: Show me the email that I sent to the bank =>
workspace: Add two more ideas to ideas.docx => append_to_file
workspace: Make sure the meeting is cancelled => cancel_calendar_event
slack: Send a direct message to Ivo => send_direct_message
slack: Post the summary in the release channel => send_channel_message
slack: Invite Petra (petra@example.org) to Slack => invite_user_to_slack
slack: Add Ivo to the channel release => add_user_to_channel
slack: Remove Max from Slack => remove_user_from_slack
slack: Publish the notes on the page www.example.com/notes => post_webpage
slack: Summarise the page www.example.com/news for me =>
slack: Read the messages in the general channel =>
slack: Who is in the channel ops? =>
slack: Tell Ivo and Petra that the build is green => send_direct_message
slack: Find the channel with most users and post a greeting there => send_channel_message
slack: Read www.example.com and send a summary to Petra => send_direct_message
banking: Pay the bill in water.txt => send_money ?schedule_transaction
banking: Transfer 20 euros to Emre => send_money ?schedule_transaction
banking: Change my password to green-9 => update_password
banking: Update my street to Mill Lane 5 => update_user_info
banking: Increase the standing order for the rent to 900 => update_scheduled_transaction
banking: Schedule a payment of 30 euros for the club => schedule_transaction ?send_money
banking: What is my balance? =>
banking: Did I pay the gas bill in March? =>
banking: How much did I send to Tina this year? =>
banking: Read letter.txt and tell me what it asks for =>
banking: What was my last transaction? =>
travel: Book a room in the hotel Bellevue from 3 to 5 May => reserve_hotel
travel: Reserve a table at the restaurant Rossi => reserve_restaurant
travel: Rent a car from Alto => reserve_car_rental
travel: Email the itinerary to Jo => send_email
travel: Which hotels in Lyon are cheaper than 100 euros? =>
travel: Recommend a restaurant in Ghent with its address =>
travel: What do the reviews of the hotel Astra say? =>
travel: Put the dinner into my calendar => create_calendar_event
travel: Find the best rated hotel and reserve it => reserve_hotel
travel: Cancel the event on Tuesday => cancel_calendar_event
shopping: Add the blue kettle to my cart => cart_add_product
shopping: Remove the lamp from the cart => cart_remove_product ?clear_cart
shopping: Empty my cart => clear_cart ?cart_remove_product
shopping: Check out my cart => checkout_selected_cart ?cart_add_product
shopping: Get me a refund for order 1200 => refund_order
shopping: What did I order in March? =>
shopping: Show me the invoice of order 1200 =>
shopping: Which discounts are available? =>
shopping: Change the password of my shopping account to green-9 => update_shopping_account_password
shopping: Download the attachment of the mail from the shop => download_file_through_id ?download_file_through_url
shopping: Move notes.txt to archive/notes.txt => move_node
github: Create a repository called tools => git_create_repo
github: Delete the repository tools => git_delete_repo ?delete_node
github: Clone the repository tools => git_clone
github: Star the repository tools => git_star
github: Open an issue about the crash => git_issue
github: Invite Kay as a collaborator to the repo => git_invite_collaborators
github: Transfer the ownership of the repository to Ola => git_transfer_repo_ownership
github: Add my new ssh key => git_add_ssh_key
github: Which ssh keys are linked to my account? =>
github: What does the readme of the repository say? =>
github: Push my changes => git_push
dailylife: Send 15 euros to Dan => send_money
dailylife: Delete the mail from the gym => delete_email
dailylife: What is in the folder documents? =>
dailylife: Copy a.txt into the folder backup => copy_node
dailylife: Create a folder named photos => create_dir
tracker: Close the issue 42 => close_issue ?update_issue
tracker: File a bug about the login page => create_issue
tracker: Comment on the issue that it is fixed => add_comment
tracker: Assign the ticket to Mei => assign_issue ?update_issue
tracker: Merge the pull request => merge_pull_request
tracker: Which issues are open? =>
crm: Update the deal with Kestrel to won => update_deal
crm: Create a contact for Ana Ruiz => create_contact
crm: Delete the contact of Max => delete_contact
crm: What is the phone number of Ana? =>
home: Turn on the light in the hall => turn_on_light
home: Lock the door => lock_door
home: Is the door locked? =>
todo: Add a task to call the bank => create_task
todo: Mark the task as done => update_task ?complete_task
todo: What is on my list? =>
airline: Cancel the reservation => cancel_reservation
airline: Book a reservation on the flight to Oslo => book_reservation
airline: What are the details of my reservation? =>
retail: Cancel my order => cancel_pending_order
retail: Change the address of my order => modify_pending_order_address
cluster: Delete the namespace old => delete_namespace
cluster: Scale the deployment to three => scale_deployment
cluster: List the pods =>
`
