import { mount } from 'svelte'
import App from './App.svelte'
import './app.css'
import './markdown/markdown.css'
import { locale } from './i18n/index.svelte.ts'
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
if (router.route.name !== 'share') {
  conversations.begin()
  models.begin()
  preferences.begin()
  connection.begin()
  outbox.begin()
}
mount(App, { target: document.getElementById('app')! })
