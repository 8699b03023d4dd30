// Pass new data on to the script of the page (page.js).
const detail = Object.fromEntries(Object.entries(cb_obj.data).map(([key, column]) => [key, column[0]]))
if (cb_obj.data.name.length) document.dispatchEvent(new CustomEvent(event, {detail}))
