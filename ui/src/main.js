// Starts the page. The only module that does something when it is loaded.

import { Page } from "./page.js";

new Page("state");
