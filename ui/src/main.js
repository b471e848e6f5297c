// Starts the page. The only module that does something when it is loaded.

import { Page } from "./page.js";
import { inlined } from "./inlined.js";

new Page("state", inlined(document.getElementById("inlined")));
