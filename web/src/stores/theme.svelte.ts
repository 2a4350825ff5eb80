/** Light, dark, or as the system has it. */

export type Theme = 'system' | 'light' | 'dark'

const KEPT = 'candide.theme'

class Appearance {
  theme = $state<Theme>('system')
  #system = matchMedia('(prefers-color-scheme: dark)')
  systemIsDark = $state(this.#system.matches)

  get isDark(): boolean {
    return this.theme === 'system' ? this.systemIsDark : this.theme === 'dark'
  }

  begin(): void {
    this.#system.addEventListener('change', (event) => (this.systemIsDark = event.matches))
    const kept = localStorage.getItem(KEPT)
    this.choose(kept === 'light' || kept === 'dark' ? kept : 'system')
  }

  choose(theme: Theme): void {
    this.theme = theme
    if (theme === 'system') localStorage.removeItem(KEPT)
    else localStorage.setItem(KEPT, theme)
    document.documentElement.dataset['theme'] = theme
  }
}

export const appearance = new Appearance()
