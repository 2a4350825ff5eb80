/** What can be done from anywhere: by the command palette, and by the shortcuts of the same name. */

import { t, type Language, LANGUAGES, locale } from '../i18n/index.svelte.ts'
import { copyText } from '../services/clipboard.ts'
import { conversations } from './conversations.svelte.ts'
import { OpenConversation } from './conversation.svelte.ts'
import { current } from './current.svelte.ts'
import { models } from './models.svelte.ts'
import { panels } from './panels.svelte.ts'
import { router } from './router.svelte.ts'
import { SHORTCUTS, type ShortcutId } from './shortcuts.ts'
import { appearance } from './theme.svelte.ts'
import { toasts } from './toasts.svelte.ts'

export interface Command {
  label: string
  detail?: string
  group?: string
  keys?: string
  run: () => void
}

const ACTIONS: Record<ShortcutId, () => void> = {
  palette: () => panels.show({ name: 'palette' }),
  new: () => {
    router.go('/')
    document.getElementById('composer')?.focus()
  },
  composer: () => document.getElementById('composer')?.focus(),
  stop: () => current.chat?.stop(),
  sidebar: () => panels.toggleSidebar(),
  copyAnswer: () => void copy(current.chat?.tree.branch.findLast((node) => node.role === 'assistant')?.text),
  copyCode: () => void copy(lastCode()),
  previous: () => step(-1),
  next: () => step(1),
  settings: () => panels.show({ name: 'settings', tab: 'general' }),
  help: () => panels.show({ name: 'shortcuts' }),
}

export function runShortcut(id: ShortcutId): void {
  ACTIONS[id]()
}

export function commands(): Command[] {
  const chat = current.chat
  const conversation = chat instanceof OpenConversation ? chat.summary : null
  return [
    ...SHORTCUTS.filter(({ id }) => id !== 'palette').map(({ id, label, keys }) => ({
      label: t(label),
      keys,
      run: ACTIONS[id],
    })),
    { label: t('library.all'), run: () => router.go('/libraries') },
    { label: t('search.title'), run: () => router.go('/search') },
    { label: t('sidebar.temporary'), run: () => router.go('/?temporary') },
    ...(conversation
      ? [
          {
            label: conversation.pinned ? t('conversation.unpin') : t('conversation.pin'),
            run: () => void conversations.change(conversation, { pinned: !conversation.pinned }),
          },
          {
            label: t('conversation.instructions'),
            run: () => panels.show({ name: 'conversation', conversation }),
          },
          {
            label: t('share.title'),
            run: () => panels.show({ name: 'share', conversation, leafId: conversation.current_leaf_id }),
          },
          {
            label: t('conversation.archive'),
            run: () => {
              void conversations.archive(conversation)
              router.go('/')
            },
          },
          {
            label: t('conversation.delete'),
            run: () => {
              void conversations.remove(conversation)
              router.go('/')
            },
          },
        ]
      : []),
    { label: t('folder.new'), run: () => panels.show({ name: 'folder', folder: null, conversation: null }) },
    { label: t('settings.data'), run: () => panels.show({ name: 'settings', tab: 'data' }) },
    { label: t('prompts.manage'), run: () => panels.show({ name: 'settings', tab: 'prompts' }) },
    { label: t('theme.light'), group: t('theme.title'), run: () => appearance.choose('light') },
    { label: t('theme.dark'), group: t('theme.title'), run: () => appearance.choose('dark') },
    { label: t('theme.system'), group: t('theme.title'), run: () => appearance.choose('system') },
    ...models.list.map((model) => ({
      label: model.name,
      group: t('model.choose'),
      run: () => models.choose(model.default ? '' : model.name),
    })),
    ...Object.entries(LANGUAGES).map(([language, name]) => ({
      label: name,
      group: t('language.title'),
      run: () => void locale.choose(language as Language),
    })),
  ]
}

async function copy(text: string | undefined): Promise<void> {
  if (text) toasts.note(t((await copyText(text)) ? 'copied' : 'copyFailed'))
}

function lastCode(): string | undefined {
  const blocks = document.querySelectorAll('.markdown pre code')
  return blocks[blocks.length - 1]?.textContent ?? undefined
}

function step(by: 1 | -1): void {
  const order = conversations.inOrder
  const route = router.route
  const at = route.name === 'conversation' ? order.findIndex((one) => one.id === route.id) : -1
  const next = order[at < 0 ? 0 : at + by]
  if (next) router.go(`/c/${next.id}`)
}
