// Runs before the first paint: the remembered theme and language, so that nothing flashes.
(() => {
    const remembered = (name) => {
        try {
            return localStorage.getItem(name);
        } catch {
            return null; // storage is switched off
        }
    };
    const root = document.documentElement;
    const theme = remembered("page.theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    const language = remembered("page.language") ?? navigator.language;
    const chinese = language.toLowerCase().startsWith("zh");
    root.lang = chinese ? "zh-CN" : "en";
    if (chinese) root.classList.add("untranslated");
})();
