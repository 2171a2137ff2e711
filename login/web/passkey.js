// Passkey prompts. The page says what to do in data attributes; this file
// talks to the browser's authenticator and to /login/passkey.
'use strict';

(() => {
	const status = document.getElementById('status');
	const say = (text, refused) => {
		status.textContent = (refused ? 'Refused: ' : '') + text;
		status.className = refused ? 'notice' : 'quiet';
	};
	const bytes = (s) => Uint8Array.from(atob(s.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
	const text = (buffer) => buffer && btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');

	const post = async (path, body) => {
		const r = await fetch(path, {
			method: 'POST', credentials: 'same-origin', redirect: 'error',
			headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
		});
		const answer = await r.json();
		if (!r.ok) {
			throw new Error(answer.text + (answer.fix ? '. What would help: ' + answer.fix : '') + '.');
		}
		return answer;
	};

	const descriptors = (list) => (list || []).map((d) => ({ ...d, id: bytes(d.id) }));

	const signIn = async (next) => {
		const { publicKey } = await post('/login/passkey/begin', { next });
		const c = await navigator.credentials.get({
			publicKey: { ...publicKey, challenge: bytes(publicKey.challenge), allowCredentials: descriptors(publicKey.allowCredentials) },
		});
		return post('/login/passkey/finish', {
			credential: {
				id: c.id, rawId: text(c.rawId), type: c.type, authenticatorAttachment: c.authenticatorAttachment || undefined, clientExtensionResults: {},
				response: {
					clientDataJSON: text(c.response.clientDataJSON), authenticatorData: text(c.response.authenticatorData),
					signature: text(c.response.signature), userHandle: text(c.response.userHandle) || undefined,
				},
			},
		});
	};

	const register = async (invite) => {
		const { publicKey } = await post('/login/passkey/add', { invite });
		const c = await navigator.credentials.create({
			publicKey: {
				...publicKey, challenge: bytes(publicKey.challenge), user: { ...publicKey.user, id: bytes(publicKey.user.id) },
				excludeCredentials: descriptors(publicKey.excludeCredentials),
			},
		});
		return post('/login/passkey/save', {
			invite,
			credential: {
				id: c.id, rawId: text(c.rawId), type: c.type, authenticatorAttachment: c.authenticatorAttachment || undefined, clientExtensionResults: {},
				response: {
					clientDataJSON: text(c.response.clientDataJSON), attestationObject: text(c.response.attestationObject),
					transports: c.response.getTransports ? c.response.getTransports() : undefined,
				},
			},
		});
	};

	// The invitation leaves the address bar before anything else happens.
	let invite = '';
	if (document.querySelector('[data-passkey="invited"]')) {
		invite = location.hash.slice(1);
		history.replaceState(null, '', location.pathname);
	}

	for (const button of document.querySelectorAll('button[data-passkey]')) {
		button.hidden = false;
		button.addEventListener('click', async () => {
			button.disabled = true;
			say('Waiting for your passkey…');
			try {
				const { next } = button.dataset.passkey === 'sign-in' ? await signIn(button.dataset.next) : await register(invite);
				say('Done.');
				location.assign(next);
			} catch (e) {
				const why = {
					NotAllowedError: 'the prompt was closed, or it took too long. What would help: try again.',
					InvalidStateError: 'this device has a passkey of yours for this gateway already. What would help: sign in with it.',
				};
				say(why[e.name] || e.message, true);
				button.disabled = false;
			}
		});
	}
	if (!window.PublicKeyCredential) {
		say('this browser cannot use passkeys here. What would help: use a current browser, and open the page over https or on localhost.', true);
	}
})();
