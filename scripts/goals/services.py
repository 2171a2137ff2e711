"""Services that several worlds share: mail, calendar, drive, local files, web.

Records are plain dictionaries in world.state; a method per tool, named as the
tool. Fresh ids continue the ids that are there.
"""
from engine import Refused, clean


def mail(id, sender, subject, body, at, to=None, unread=False, files=(), status="received", cc=()):
    return {"id_": str(id), "sender": sender, "recipients": to, "cc": list(cc), "bcc": [], "subject": subject, "body": body,
            "status": status, "read": not unread, "timestamp": at + ":00", "attachments": list(files)}


def event(id, title, start, end, people=(), description="", location=None):
    return {"id_": str(id), "title": title, "description": description, "start_time": start + ":00", "end_time": end + ":00",
            "location": location, "participants": list(people), "all_day": False, "status": "confirmed"}


def doc(id, name, content, owner, shared=None, at="2031-03-02 09:14"):
    return {"id_": str(id), "filename": name, "content": content, "owner": owner, "last_modified": at + ":00",
            "shared_with": dict(shared or {}), "size": len(content)}


def find(records, id, what):
    for r in records:
        if clean(r["id_"]) == str(id):
            return r
    raise Refused(f"{what} with ID '{id}' not found.")


def holds(query, *texts):
    q = query.lower()
    return any(q in clean(t or "").lower() for t in texts)


def fresh(records):
    return str(max([int(clean(r["id_"])) for r in records if clean(r["id_"]).isdigit()], default=0) + 1)


def page_key(url):
    u = clean(url).lower()
    for p in ("https://", "http://", "www."):
        u = u.removeprefix(p)
    return u.rstrip("/")


class Mail:
    now = "2031-03-12 10:20:00"

    def _mails(self):
        for m in self.state["mails"]:
            if m["recipients"] is None:
                m["recipients"] = [self.own[0]]
        return self.state["mails"]

    def _send(self, recipients, subject, body, attachments=None, cc=None, bcc=None):
        m = {"id_": fresh(self._mails()), "sender": self.own[0], "recipients": recipients, "cc": cc or [], "bcc": bcc or [],
             "subject": subject, "body": body, "status": "sent", "read": True, "timestamp": self.now, "attachments": attachments or []}
        self.state["mails"].append(m)
        return m

    def send_email(self, recipients, subject, body, attachments=None, cc=None, bcc=None):
        if not isinstance(recipients, list):
            raise Refused("recipients should be a list")
        return self._send(recipients, subject, body, attachments, cc, bcc)

    def delete_email(self, email_id):
        self.state["mails"].remove(find(self._mails(), email_id, "Email"))
        return f"Email with id {email_id} deleted successfully."

    def get_unread_emails(self):
        out = [m for m in self._mails() if not m["read"]]
        for m in out:
            m["read"] = True
        return out

    def get_sent_emails(self):
        return [m for m in self._mails() if m["status"] == "sent"]

    def get_received_emails(self):
        return [m for m in self._mails() if m["status"] == "received"]

    def get_draft_emails(self):
        return [m for m in self._mails() if m["status"] == "draft"]

    def search_emails(self, query, sender=None):
        out = [m for m in self._mails() if holds(query, m["subject"], m["body"]) and (not sender or clean(m["sender"]) == sender)]
        if not out:
            raise Refused("No emails found. Try with a different query.")
        return out

    def search_contacts_by_name(self, query):
        out = [c for c in self.state["contacts"] if holds(query, c["name"])]
        if not out:
            raise Refused(f"Contact with name '{query}' not found.")
        return out

    def search_contacts_by_email(self, query):
        out = [c for c in self.state["contacts"] if holds(query, c["email"])]
        if not out:
            raise Refused(f"Contact with email '{query}' not found.")
        return out


class Calendar:
    today = "2031-03-12"

    def get_current_day(self):
        return self.today

    def search_calendar_events(self, query, date=None):
        out = [e for e in self.state["events"] if holds(query, e["title"], e["description"]) and (not date or e["start_time"].startswith(date))]
        if not out:
            raise Refused("No events found. Try with a different query.")
        return out

    def get_day_calendar_events(self, day):
        return [e for e in self.state["events"] if e["start_time"].startswith(day)]

    def create_calendar_event(self, title, start_time, end_time, description="", participants=None, location=None):
        people = list(participants or [])
        if self.own[0] not in people:
            people.append(self.own[0])
        e = event(fresh(self.state["events"]), title, start_time, end_time, people, description, location)
        self.state["events"].append(e)
        return e

    def cancel_calendar_event(self, event_id):
        self.state["events"].remove(find(self.state["events"], event_id, "Event"))
        return f"Event with ID {event_id} has been canceled and participants have been notified."

    def reschedule_calendar_event(self, event_id, new_start_time, new_end_time=None):
        e = find(self.state["events"], event_id, "Event")
        e["start_time"] = new_start_time + ":00"
        if new_end_time:
            e["end_time"] = new_end_time + ":00"
        return e

    def add_calendar_event_participants(self, event_id, participants):
        e = find(self.state["events"], event_id, "Event")
        e["participants"] += [p for p in participants if p not in e["participants"]]
        return e


class Drive:
    def list_files(self):
        return self.state["files"]

    def search_files_by_filename(self, filename):
        out = [f for f in self.state["files"] if holds(filename, f["filename"])]
        if not out:
            raise Refused(f"No files found with the given filename ('{filename}').")
        return out

    def search_files(self, query):
        out = [f for f in self.state["files"] if holds(query, f["content"])]
        if not out:
            raise Refused(f"No files found with the given query ('{query}'). Try a different search term.")
        return out

    def get_file_by_id(self, file_id):
        return find(self.state["files"], file_id, "File")

    def create_file(self, filename, content):
        f = doc(fresh(self.state["files"]), filename, content, self.own[0], at="2031-03-12 10:20")
        self.state["files"].append(f)
        return f

    def append_to_file(self, file_id, content):
        f = find(self.state["files"], file_id, "File")
        f["content"] += content
        f["size"] = len(f["content"])
        return f

    def delete_file(self, file_id):
        f = find(self.state["files"], file_id, "File")
        self.state["files"].remove(f)
        return f

    def share_file(self, file_id, email, permission):
        f = find(self.state["files"], file_id, "File")
        f["shared_with"][email] = permission
        return f


class LocalFiles:
    """state["local"] maps a path to its text; a path that ends in / is a directory. state["downloads"]
    maps an attachment id or a page_key of a URL to (name, text)."""

    def list_directory(self, path):
        p = path.rstrip("/") + "/"
        out = []
        for f in sorted(self.state["local"], key=clean):
            rest = clean(f).removeprefix(p)
            if rest and clean(f).startswith(p) and "/" not in rest.rstrip("/"):
                out.append({"name": f[len(p):].rstrip("/"), "type": "directory" if f.endswith("/") else "file", "size": len(self.state["local"][f] or "")})
        if not out:
            raise Refused(f"Directory '{path}' does not exist or is empty.")
        return out

    def _file(self, path):
        for f in self.state["local"]:
            if clean(f) == path:
                return f
        raise Refused(f"Path '{path}' does not exist.")

    def create_file(self, path, content=None):
        self.state["local"][path] = content or ""
        return f"File '{path}' created."

    def create_dir(self, path):
        self.state["local"][path.rstrip("/") + "/"] = ""
        return f"Directory '{path}' created."

    def read_file(self, path):
        return self.state["local"][self._file(path)]

    def delete_node(self, path):
        gone = [f for f in self.state["local"] if clean(f) == path or clean(f).startswith(path.rstrip("/") + "/")]
        if not gone:
            raise Refused(f"Path '{path}' does not exist.")
        for f in gone:
            del self.state["local"][f]
        return f"'{path}' deleted."

    def copy_node(self, source_path, destination_path):
        self.state["local"][destination_path] = self.state["local"][self._file(source_path)]
        return f"'{source_path}' copied to '{destination_path}'."

    def move_node(self, source_path, destination_path):
        self.state["local"][destination_path] = self.state["local"].pop(self._file(source_path))
        return f"'{source_path}' moved to '{destination_path}'."

    def _download(self, key, save_dir):
        if key not in self.state["downloads"]:
            raise Refused("nothing to download there")
        name, text = self.state["downloads"][key]
        path = save_dir.rstrip("/") + "/" + clean(name)
        self.state["local"][path] = text
        return f"Saved as {path}"

    def download_file_through_id(self, file_id, save_dir="/home/downloads"):
        return self._download(file_id, save_dir)

    def download_file_through_url(self, url, save_dir="/home/downloads"):
        return self._download(page_key(url), save_dir)


class Web:
    """state["pages"] maps page_key of a URL to its text; a page that nobody described answers "OK"."""

    def browse_webpage(self, url):
        return self.state["pages"].get(page_key(url), "OK")

    def input_to_webpage(self, url, input_ids=None, input_values=None, inputs=None):
        return self.state["forms"].get(page_key(url), "Your input was received.")


def iban(country, number):
    """An IBAN with right check digits."""
    digits = "".join(str(int(c, 36)) for c in number + country + "00")
    return f"{country}{98 - int(digits) % 97:02d}{number}"


class Bank:
    """state["paid"] and state["scheduled"] hold transactions; their ids are numbers."""

    def _next(self):
        return max(t["id"] for t in self.state["paid"] + self.state["scheduled"]) + 1

    def get_balance(self):
        return self.state["balance"]

    def get_most_recent_transactions(self, n=100):
        return self.state["paid"][-n:]

    def get_scheduled_transactions(self):
        return self.state["scheduled"]

    def get_iban(self):
        return self.state["iban"]

    def send_money(self, recipient, amount, subject, date):
        t = transaction(self._next(), self.state["iban"], recipient, amount, subject, date)
        self.state["paid"].append(t)
        return {"message": f"Transaction to {recipient} for {amount} sent."}

    def schedule_transaction(self, recipient, amount, subject, date, recurring):
        self.state["scheduled"].append(transaction(self._next(), self.state["iban"], recipient, amount, subject, date, recurring))
        return {"message": f"Transaction to {recipient} for {amount} scheduled."}

    def update_scheduled_transaction(self, id, recipient=None, amount=None, subject=None, date=None, recurring=None):
        for t in self.state["scheduled"]:
            if t["id"] == id:
                for k, v in (("recipient", recipient), ("amount", amount), ("subject", subject), ("date", date), ("recurring", recurring)):
                    if v is not None:
                        t[k] = v
                return {"message": f"Transaction with ID {id} updated."}
        raise Refused(f"Transaction with ID {id} not found.")


def transaction(id, sender, recipient, amount, subject, date, recurring=False):
    return {"id": id, "sender": sender, "recipient": recipient, "amount": amount, "subject": subject, "date": date, "recurring": recurring}
