import { mount } from 'svelte'
import App from './App.svelte'
import './app.css'
import './markdown/markdown.css'
import { locale } from './i18n/index.svelte.ts'
import { loadParts, loadTranscript } from './routes/parts.ts'
import { findConversation } from './stores/conversation.svelte.ts'
import { connection } from './stores/connection.svelte.ts'
import { conversations } from './stores/conversations.svelte.ts'
import { models } from './stores/models.svelte.ts'
import { outbox } from './stores/outbox.svelte.ts'
import { preferences } from './stores/preferences.svelte.ts'
import { router } from './stores/router.svelte.ts'
import { appearance } from './stores/theme.svelte.ts'

appearance.begin()
router.begin()
await locale.begin()
// What is looked at is asked for before anything is drawn; once changes are heard it is fetched once more, so that none between
// is missed.
if (router.route.name === 'conversation') {
  void findConversation(router.route.id).refresh()
  void loadTranscript().catch(() => {})
}
if (router.route.name !== 'share') {
  conversations.begin()
  models.begin()
  preferences.begin()
  connection.begin()
  outbox.begin()
}
// After an update of the server the parts that this page would load are gone: it is loaded anew, where the server is there
// to give it. Drafts and questions on their way are kept.
addEventListener('vite:preloadError', () => {
  void fetch('/health')
    .then((health) => health.ok && location.reload())
    .catch(() => {})
})
mount(App, { target: document.getElementById('app')! })
if (router.route.name !== 'share') loadParts()
